package imap

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// scram is SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding. The password never leaves us, and the server has to
// prove that it knows it, too.
type scram struct {
	user, password string
	nonce          string
	bare           string // client-first-message-bare
	serverSig      []byte
	stage          int
	refused        error
}

const (
	// minIterations keeps a server from asking for a proof that is cheap to crack (RFC 7677 4).
	minIterations = 4096
	// maxIterations keeps it from making us work for seconds.
	maxIterations = 1_000_000
)

var (
	errScram       = errors.New("SCRAM: malformed message of the server")
	errScramNonce  = errors.New("SCRAM: server's nonce does not continue ours")
	errScramIter   = errors.New("SCRAM: iteration count out of bounds")
	errScramServer = errors.New("SCRAM: server did not prove that it knows the password")
)

// SCRAMSHA256 is SCRAM-SHA-256. Names and passwords are taken as they are in UTF-8, without SASLprep.
func SCRAMSHA256(user, password string) Mechanism { return &scram{user: user, password: password} }

func (m *scram) Name() string   { return "SCRAM-SHA-256" }
func (m *scram) Secret() string { return m.password }
func (m *scram) Refused() error { return m.refused }

func (m *scram) Start() ([]byte, error) {
	if m.user == "" || m.password == "" || strings.Contains(m.user+m.password, "\x00") {
		return nil, errSASLName
	}
	if m.nonce == "" {
		m.nonce = rand.Text()
	}
	m.bare = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(m.user) + ",r=" + m.nonce
	return []byte("n,," + m.bare), nil
}

func (m *scram) Next(challenge []byte) ([]byte, error) {
	m.stage++
	switch m.stage {
	case 1:
		return m.final(string(challenge))
	case 2:
		return nil, m.verify(string(challenge))
	}
	return nil, errScram
}

// final answers the server-first-message with the proof (RFC 5802 3, 5).
func (m *scram) final(first string) ([]byte, error) {
	f := strings.Split(first, ",")
	if len(f) < 3 || !strings.HasPrefix(f[0], "r=") || !strings.HasPrefix(f[1], "s=") || !strings.HasPrefix(f[2], "i=") {
		return nil, errScram
	}
	nonce := f[0][2:]
	if !strings.HasPrefix(nonce, m.nonce) || len(nonce) == len(m.nonce) {
		return nil, errScramNonce
	}
	salt, err := base64.StdEncoding.DecodeString(f[1][2:])
	if err != nil || len(salt) == 0 {
		return nil, errScram
	}
	iter, err := strconv.Atoi(f[2][2:])
	if err != nil {
		return nil, errScram
	}
	if iter < minIterations || iter > maxIterations {
		return nil, errScramIter
	}
	salted, err := pbkdf2.Key(sha256.New, m.password, salt, iter, sha256.Size)
	if err != nil {
		return nil, err
	}
	without := "c=biws,r=" + nonce
	auth := m.bare + "," + first + "," + without
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := mac(stored[:], auth)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	m.serverSig = mac(mac(salted, "Server Key"), auth)
	return []byte(without + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// verify checks the server-final-message.
func (m *scram) verify(final string) error {
	v, _, _ := strings.Cut(final, ",")
	if strings.HasPrefix(v, "e=") { // a refusal follows; an OK would not be believed
		m.refused = errors.New("SCRAM: " + cleanText(v[2:]))
		return nil
	}
	if !strings.HasPrefix(v, "v=") {
		return errScramServer
	}
	sig, err := base64.StdEncoding.DecodeString(v[2:])
	if err != nil || !hmac.Equal(sig, m.serverSig) {
		return errScramServer
	}
	m.stage = 3
	return nil
}

// Done holds the server to its proof: an OK without one is from somebody else.
func (m *scram) Done() error {
	if m.stage != 3 {
		return errScramServer
	}
	return nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
