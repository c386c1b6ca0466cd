// Package model runs random histories: other mail programs and an application change a mailbox on a real Dovecot while the network
// breaks and the server is stopped and killed, and in the end everything is as a simple model says.
//
// A history is made by its seed: a failure prints it with the steps, and -seed=N -steps=M runs the same again. Fewer steps are the
// beginning of the same history.
package model
