package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// RingFile is the name of the file in a data directory that says which master key it needs and holds the wrapped key of
// its control database.
const RingFile = "keyring.json"

// ErrWrongMaster is the error of opening data with a master key that is not its own.
var ErrWrongMaster = errors.New("the master key does not fit this data directory")

// Ring is the content of RingFile, or of its place in a database.
type Ring struct {
	Version int    `json:"version"`
	Master  string `json:"master_key_id"` // of the master key that wraps
	Control []byte `json:"control_key"`   // wrapped
}

const controlOwner = "control"

// NewRing makes a ring with a new control key.
func (r *Keyring) NewRing() (Ring, *Key) {
	k := NewKey()
	return Ring{Version: 1, Master: r.ID().String(), Control: r.Wrap(controlOwner, k)}, k
}

// OpenRing returns the control key. ErrWrongMaster: the keyring does not have the master key it needs.
func (r *Keyring) OpenRing(x Ring) (*Key, error) {
	if x.Version != 1 {
		return nil, fmt.Errorf("%s: version %d is not known here: use a newer Posthorn", RingFile, x.Version)
	}
	k, err := r.Unwrap(controlOwner, x.Control)
	if errors.Is(err, ErrWrongKey) {
		return nil, fmt.Errorf("%w: it needs the key with id %s, the one given has id %s", ErrWrongMaster, x.Master, r.ID())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", RingFile, err)
	}
	return k, nil
}

// RewrapRing wraps the control key with the master key in use; changed tells whether it was not.
func (r *Keyring) RewrapRing(x Ring) (Ring, bool, error) {
	w, changed, err := r.Rewrap(controlOwner, x.Control)
	if err != nil || !changed {
		return x, false, err
	}
	x.Control, x.Master = w, r.ID().String()
	return x, true, nil
}

// ReadRing reads dir/keyring.json; fs.ErrNotExist if there is none.
func ReadRing(dir string) (Ring, error) {
	var x Ring
	b, err := os.ReadFile(filepath.Join(dir, RingFile))
	if err != nil {
		return x, err
	}
	if err := json.Unmarshal(b, &x); err != nil {
		return x, fmt.Errorf("%s is damaged: %w", RingFile, err)
	}
	return x, nil
}

// WriteRing writes dir/keyring.json, whole or not at all.
func WriteRing(dir string, x Ring) error {
	b, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, RingFile+".new")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(tmp, append(b, '\n')); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, RingFile)); err != nil {
		return err
	}
	return syncDir(dir)
}
