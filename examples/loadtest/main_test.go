package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
)

func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	require.Equal(t, 2, run(t.Context(), []string{"-users", "x"}, &out, &errs))
	require.Equal(t, 2, run(t.Context(), []string{"extra"}, &out, &errs))
	require.Equal(t, 2, run(t.Context(), []string{"-users", "-3"}, &out, &errs))
	require.Contains(t, errs.String(), "Options.Users = -3")
	require.Empty(t, out.String())

	file := filepath.Join(t.TempDir(), "report.json")
	args := []string{"-url", "http://127.0.0.1:1", "-users", "1", "-ramp", "1ms", "-duration", "10ms"}
	require.Equal(t, 1, run(t.Context(), append(args, "-json", file), &out, &errs), "nobody is connected")
	require.Contains(t, out.String(), "1, connected at the end 0")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var r load.Report
	require.NoError(t, json.Unmarshal(b, &r))
	require.Equal(t, 1, r.Users)

	out.Reset()
	require.Equal(t, 1, run(t.Context(), append(args, "-json", "-"), &out, &errs))
	require.True(t, json.Valid(out.Bytes()))
}
