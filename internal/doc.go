// Package internal holds the packages under it to their layers: its test says which may import which.
package internal
