package memmgr_test

func childArchive() int { return 0 }
