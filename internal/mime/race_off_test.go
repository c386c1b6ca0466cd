//go:build !race

package mime

const poolWaste = 1
