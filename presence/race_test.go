//go:build race

package presence_test

// raceEnabled makes long tests shorter: the detector costs ten times the time.
const raceEnabled = true
