// Package e2e tells stories of the built program as its users live them.
package e2e
