package api

// route is one line of the API. Every route needs an API key unless it says open; an access token does for
// what a grant holds, see call.admit.
type route struct {
	pattern string
	handle  func(*call) error
	open    bool
}

func (a *API) allRoutes() []route {
	return []route{
		{"POST /v3/connect/custom", a.connect, false},
		{"POST /v3/providers/detect", a.detect, false},
		{"GET /v3/connect/auth", a.authorize, true},
		{"POST /v3/connect/auth", a.authorizeStep, true},
		{"POST /v3/connect/token", a.token, true},
		{"POST /v3/connect/revoke", a.revokeToken, true},
		{"GET /v3/connect/tokeninfo", a.tokenInfo, true},

		{"GET /v3/applications", a.application, false},
		{"PATCH /v3/applications", a.updateApplication, false},
		{"GET /v3/applications/redirect-uris", a.listRedirectURIs, false},
		{"POST /v3/applications/redirect-uris", a.createRedirectURI, false},
		{"GET /v3/applications/redirect-uris/{redirect}", a.getRedirectURI, false},
		{"PATCH /v3/applications/redirect-uris/{redirect}", a.updateRedirectURI, false},
		{"PUT /v3/applications/redirect-uris/{redirect}", a.updateRedirectURI, false},
		{"DELETE /v3/applications/redirect-uris/{redirect}", a.deleteRedirectURI, false},

		{"GET /v3/connectors", a.listConnectors, false},
		{"POST /v3/connectors", a.createConnector, false},
		{"GET /v3/connectors/{provider}", a.getConnector, false},
		{"PATCH /v3/connectors/{provider}", a.updateConnector, false},
		{"PUT /v3/connectors/{provider}", a.updateConnector, false},
		{"DELETE /v3/connectors/{provider}", a.deleteConnector, false},

		{"GET /v3/grants", a.listGrants, false},
		{"GET /v3/grants/{grant}", a.getGrant, false},
		{"PATCH /v3/grants/{grant}", a.updateGrant, false},
		{"PUT /v3/grants/{grant}", a.updateGrant, false},
		{"DELETE /v3/grants/{grant}", a.deleteGrant, false},

		{"GET /v3/grants/{grant}/freshness", a.getFreshness, false},
		{"GET /v3/grants/{grant}/quarantine", a.listQuarantine, false},

		{"GET /v3/grants/{grant}/folders", a.listFolders, false},
		{"POST /v3/grants/{grant}/folders", a.createFolder, false},
		{"GET /v3/grants/{grant}/folders/{folder}", a.getFolder, false},
		{"PUT /v3/grants/{grant}/folders/{folder}", a.updateFolder, false},
		{"DELETE /v3/grants/{grant}/folders/{folder}", a.deleteFolder, false},

		{"GET /v3/grants/{grant}/messages", a.listMessages, false},
		{"POST /v3/grants/{grant}/messages/send", a.sendMessage, false},
		{"GET /v3/grants/{grant}/messages/schedules", a.listSchedules, false},
		{"GET /v3/grants/{grant}/messages/schedules/{schedule}", a.getSchedule, false},
		{"DELETE /v3/grants/{grant}/messages/schedules/{schedule}", a.stopSchedule, false},
		{"GET /v3/grants/{grant}/messages/{message}", a.getMessage, false},
		{"PUT /v3/grants/{grant}/messages/clean", a.cleanMessages, false},
		{"PUT /v3/grants/{grant}/messages/{message}", a.updateMessage, false},
		{"DELETE /v3/grants/{grant}/messages/{message}", a.deleteMessage, false},
		{"GET /v3/grants/{grant}/messages/{message}/details", a.getDetails, false},
		{"GET /v3/grants/{grant}/messages/{message}/attachments/{attachment}", a.getAttachment, false},
		{"GET /v3/grants/{grant}/messages/{message}/attachments/{attachment}/download", a.downloadAttachment, false},

		{"GET /v3/grants/{grant}/drafts", a.listDrafts, false},
		{"POST /v3/grants/{grant}/drafts", a.createDraft, false},
		{"GET /v3/grants/{grant}/drafts/{draft}", a.getDraft, false},
		{"PUT /v3/grants/{grant}/drafts/{draft}", a.updateDraft, false},
		{"DELETE /v3/grants/{grant}/drafts/{draft}", a.deleteDraft, false},
		{"POST /v3/grants/{grant}/drafts/{draft}", a.sendDraft, false},

		{"GET /v3/grants/{grant}/threads", a.listThreads, false},
		{"GET /v3/grants/{grant}/threads/{thread}", a.getThread, false},
		{"PUT /v3/grants/{grant}/threads/{thread}", a.updateThread, false},
		{"DELETE /v3/grants/{grant}/threads/{thread}", a.deleteThread, false},

		{"GET /v3/grants/{grant}/attachments/{attachment}", a.getAttachment, false},
		{"GET /v3/grants/{grant}/attachments/{attachment}/download", a.downloadAttachment, false},

		{"GET /v3/grants/{grant}/operations/{operation}", a.getOperation, false},

		{"GET /v3/events", a.events, false},
		{"GET /v3/grants/{grant}/events", a.events, false},

		{"GET /v3/webhooks", a.listWebhooks, false},
		{"POST /v3/webhooks", a.createWebhook, false},
		{"GET /v3/webhooks/{webhook}", a.getWebhook, false},
		{"PUT /v3/webhooks/{webhook}", a.updateWebhook, false},
		{"DELETE /v3/webhooks/{webhook}", a.deleteWebhook, false},
		{"GET /v3/webhooks/{webhook}/deliveries", a.listDeliveries, false},
		{"POST /v3/webhooks/{webhook}/{action}", a.webhookAction, false}, // replay; beside rotate-secret/{webhook} it cannot be spelt out
		{"GET /v3/webhooks/{webhook}/replays", a.listReplays, false},
		{"GET /v3/webhooks/{webhook}/replays/{replay}", a.getReplay, false},
		{"DELETE /v3/webhooks/{webhook}/replays/{replay}", a.cancelReplay, false},
		{"PUT /v3/webhooks/{webhook}/rotate-secret", a.rotateSecret, false},
		{"POST /v3/webhooks/rotate-secret/{webhook}", a.rotateSecret, false},
		{"GET /v3/webhooks/ip-addresses", a.listAddresses, false},
		{"POST /v3/webhooks/mock-payload", a.mockPayload, false},
		{"POST /v3/webhooks/send-test-event", a.sendTestEvent, false},

		{"GET /t/{token}", a.openMessage, true},
		{"GET /t/{token}/{link}", a.followLink, true},

		{"GET /openapi.yaml", a.getSpec, true},
		{"GET /reference", a.getReference, true},
	}
}
