// Package mime reads and writes messages: header fields, addresses, dates, bodies and attachments, identity and threading keys.
//
// Reading never fails on bad mail. Whatever cannot be understood is kept as it is or left out, and listed in
// Message.Problems; errors are those of the reader only. Memory, depth, the number of parts and the size of headers
// are bounded, and the work is linear in the size of the input.
//
// The standards: RFC 5322 with its obsolete syntax, RFC 2045 to 2049, 2047 (encoded words), 2231 (parameters),
// 2183 (Content-Disposition), 6532 (UTF-8 headers), 5256 2.1 (base subject), 3676 (format=flowed), 3464 and 8098
// (reports), 3834 (automatic mail), 2369, 2919 and 8058 (lists), 8551 and 3156 (signed and encrypted mail).
package mime
