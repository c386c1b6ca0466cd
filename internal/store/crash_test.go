package store

const childJob = "POSTHORN_STORE_TEST_CHILD"

func child(string) int { return 2 }
