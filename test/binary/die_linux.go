package binary

import "syscall"

// dieWithUs ends the server when the test process ends, however that happens.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
