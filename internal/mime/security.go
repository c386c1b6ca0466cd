package mime

import (
	"bytes"
	"strings"
)

// Security names how a message is signed or encrypted. The parts stay as they are; nothing is verified or decrypted.
type Security string

// The kinds of protection, of the outermost layer.
const (
	SMIMESigned     Security = "smime-signed"         // multipart/signed with a detached signature (RFC 8551 3.5.3)
	SMIMEOpaque     Security = "smime-opaque-signed"  // the text is inside the signature (RFC 8551 3.5.2)
	SMIMEEncrypted  Security = "smime-encrypted"      // enveloped data (RFC 8551 3.3)
	SMIMECompressed Security = "smime-compressed"     // compressed data (RFC 8551 3.6)
	PGPSigned       Security = "pgp-signed"           // multipart/signed (RFC 3156 5)
	PGPEncrypted    Security = "pgp-encrypted"        // multipart/encrypted (RFC 3156 4)
	PGPInlineSigned Security = "pgp-inline-signed"    // a cleartext signature in the text (RFC 9580 7)
	PGPInline       Security = "pgp-inline-encrypted" // an OpenPGP message in the text (RFC 9580 6.2)
	SignedOther     Security = "signed"               // multipart/signed of another protocol
	EncryptedOther  Security = "encrypted"            // multipart/encrypted of another protocol
)

// Encrypted tells whether the content cannot be read without a key.
func (s Security) Encrypted() bool {
	return s == SMIMEEncrypted || s == PGPEncrypted || s == PGPInline || s == EncryptedOther
}

// noteSecurity looks at a multipart that is entered.
func (w *walker) noteSecurity(p *part) {
	if w.sec != "" {
		return
	}
	protocol := strings.ToLower(p.params.get("protocol"))
	switch p.ctype {
	case "multipart/signed":
		switch {
		case strings.Contains(protocol, "pkcs7"):
			w.sec = SMIMESigned
		case strings.Contains(protocol, "pgp"):
			w.sec = PGPSigned
		default:
			w.sec = SignedOther // the signature itself may tell more
		}
	case "multipart/encrypted":
		w.sec = EncryptedOther
		if strings.Contains(protocol, "pgp") || protocol == "" {
			w.sec = PGPEncrypted
		}
	}
}

// noteSecureLeaf looks at an attachment and the beginning of its content.
func (w *walker) noteSecureLeaf(p *part, head []byte) {
	switch p.ctype {
	case "application/pgp-signature":
		if w.sec == SignedOther && p.parent == "multipart/signed" {
			w.sec = PGPSigned
		}
	case "application/pkcs7-signature", "application/x-pkcs7-signature":
		if w.sec == SignedOther && p.parent == "multipart/signed" {
			w.sec = SMIMESigned
		}
	case "application/pgp-encrypted": // relays of some makers turn multipart/encrypted into multipart/mixed
		if w.sec == "" || w.sec == EncryptedOther {
			w.sec = PGPEncrypted
		}
	}
	if w.sec != "" || !p.maybeSMIME() {
		return
	}
	switch strings.ToLower(p.params.get("smime-type")) {
	case "enveloped-data", "authenveloped-data":
		w.sec = SMIMEEncrypted
	case "signed-data":
		w.sec = SMIMEOpaque
	case "compressed-data":
		w.sec = SMIMECompressed
	case "certs-only":
	default:
		w.sec = cmsType(head)
	}
}

func (p *part) maybeSMIME() bool {
	switch p.ctype {
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		return true
	case "application/octet-stream":
		return strings.EqualFold(p.name, "smime.p7m")
	}
	return false
}

// cmsType reads the content type of a CMS structure (RFC 5652 3): an object identifier near its beginning.
func cmsType(der []byte) Security {
	if len(der) > 64 {
		der = der[:64]
	}
	pkcs7 := []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07") // 1.2.840.113549.1.7
	if i := bytes.Index(der, pkcs7); i >= 0 && i+len(pkcs7) < len(der) {
		switch der[i+len(pkcs7)] {
		case 2:
			return SMIMEOpaque
		case 3:
			return SMIMEEncrypted
		}
	}
	smime := []byte("\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01") // 1.2.840.113549.1.9.16.1
	if i := bytes.Index(der, smime); i >= 0 && i+len(smime) < len(der) {
		switch der[i+len(smime)] {
		case 9:
			return SMIMECompressed
		case 23:
			return SMIMEEncrypted
		}
	}
	return ""
}

// inlinePGP tells whether a line of the text begins an OpenPGP message or a cleartext signature. Quoted ones don't count.
func inlinePGP(s string) Security {
	const armor = "-----BEGIN PGP "
	for off := 0; ; {
		i := strings.Index(s[off:], armor)
		if i < 0 {
			return ""
		}
		i += off
		off = i + len(armor)
		if i > 0 && s[i-1] != '\n' {
			continue
		}
		switch rest := s[off:]; {
		case strings.HasPrefix(rest, "SIGNED MESSAGE-----"):
			return PGPInlineSigned
		case strings.HasPrefix(rest, "MESSAGE-----"), strings.HasPrefix(rest, "MESSAGE, PART "):
			return PGPInline
		}
	}
}
