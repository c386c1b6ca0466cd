package v3

import "github.com/posthorn/posthorn/internal/mail"

// Thread is a conversation as applications see it.
type Thread struct {
	ID                        mail.ThreadID    `json:"id"`
	Object                    string           `json:"object"` // "thread"
	GrantID                   mail.AccountID   `json:"grant_id"`
	Subject                   string           `json:"subject"`
	Snippet                   string           `json:"snippet"`
	Unread                    bool             `json:"unread"`
	Starred                   bool             `json:"starred"`
	HasAttachments            bool             `json:"has_attachments"`
	HasDrafts                 bool             `json:"has_drafts"`
	EarliestMessageDate       int64            `json:"earliest_message_date"`
	LatestMessageReceivedDate int64            `json:"latest_message_received_date,omitempty"`
	LatestMessageSentDate     int64            `json:"latest_message_sent_date,omitempty"`
	Participants              []mail.Address   `json:"participants"`
	MessageIDs                []mail.MessageID `json:"message_ids"`
	DraftIDs                  []mail.MessageID `json:"draft_ids"`
	Folders                   []mail.FolderID  `json:"folders"`
	LatestDraftOrMessage      *Message         `json:"latest_draft_or_message,omitempty"`
}

// ThreadOf maps a thread; latest is its newest message or draft.
func ThreadOf(t mail.Thread, grant mail.AccountID, latest *Message) Thread {
	if latest != nil {
		for _, d := range t.Drafts {
			if d == latest.ID {
				latest.Object = "draft"
			}
		}
	}
	return Thread{
		ID: t.ID, Object: "thread", GrantID: grant, Subject: t.Subject, Snippet: t.Snippet,
		Unread: t.Unread, Starred: t.Starred, HasAttachments: t.HasAttachments, HasDrafts: len(t.Drafts) > 0,
		EarliestMessageDate: unix(t.Earliest), LatestMessageReceivedDate: unix(t.LatestReceived), LatestMessageSentDate: unix(t.LatestSent),
		Participants: some(t.Participants), MessageIDs: some(t.Messages), DraftIDs: some(t.Drafts), Folders: some(t.Folders),
		LatestDraftOrMessage: latest,
	}
}
