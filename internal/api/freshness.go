package api

import (
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// getFreshness answers how far an account, and each of its folders, is proven to be what the server has.
func (a *API) getFreshness(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	folders, err := mb.Folders(c.r.Context())
	if err != nil {
		return err
	}
	s := acct.Sync
	if now, running := a.Engine.Status(acct.ID); running {
		s = now
	}
	return c.tagged(v3.Select{}, v3.FreshnessOf(acct.ID, s, folders, a.Engine.Proofs(acct.ID)))
}

// maxQuarantine bounds the list of quarantined bodies: it is short, or the account is in trouble altogether.
const maxQuarantine = 1000

// listQuarantine lists what the sync has set aside.
func (a *API) listQuarantine(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	bodies, err := mb.Troubles(c.r.Context(), maxQuarantine)
	if err != nil {
		return err
	}
	units, err := mb.Units(c.r.Context())
	if err != nil {
		return err
	}
	listed := map[store.PlacementRef]bool{} // messages that are here without their content
	for _, b := range bodies {
		listed[b.PlacementRef] = true
	}
	out := []v3.SetAside{}
	for _, u := range units {
		if u.Reason == "" || listed[store.PlacementRef{Folder: u.Folder, UIDValidity: u.UIDValidity, UID: u.First}] {
			continue
		}
		kind := "message"
		if u.UIDValidity == 0 {
			kind = "folder"
		}
		out = append(out, v3.SetAside{
			Object: "quarantine", GrantID: acct.ID, Kind: kind, FolderID: u.Folder, FirstUID: u.First, LastUID: u.Last,
			Reason: u.Reason, Since: u.Since.Unix(), Attempts: u.Attempts, NextTry: u.NextTry.Unix(),
		})
	}
	for _, b := range bodies {
		out = append(out, v3.SetAside{
			Object: "quarantine", GrantID: acct.ID, Kind: "body", FolderID: b.Folder, MessageID: b.Message, FirstUID: b.UID, LastUID: b.UID,
			Reason: b.Reason, NextTry: b.NextTry.Unix(),
		})
	}
	return c.page(v3.Select{}, out, "")
}
