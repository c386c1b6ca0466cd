// Package browser opens Posthorn's pages in a headless Chromium, as the users of applications do.
package browser
