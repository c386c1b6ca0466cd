package store

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// PostgreSQL makes a plan for any values once a statement was run a few times. In a large mailbox it must not read all messages of the time
// to find those of some subjects.
func TestLoneRepliesAreFoundByTheirIndex(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "postgres")
	newBox(t, p)
	ctx := t.Context()
	db, err := sql.Open("pgx", p.o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // what is prepared belongs to a connection
	defer func() {        // they are no whole messages
		if _, err := db.ExecContext(ctx, "DELETE FROM messages"); err != nil {
			t.Error(err)
		}
	}()
	for _, q := range []string{
		fmt.Sprintf(`INSERT INTO messages(account_id, id, public, fingerprint, split, draft, thread_id, thread_keys, thread_subject, received_at, subject, subject_key, snippet, flags, size, has_att, body_state, seq)
			SELECT account_id, (1700000000 + i*600)::bigint << %d, decode(lpad(to_hex(i), 32, '0'), 'hex'), decode(lpad(to_hex(i), 32, '0'), 'hex'), 0, 0, i, '\x00112233445566778899aabb', i %% 9000 * 2, 0, 's', 's', repeat('x', 200), 0, 1000, 0, 0, i
			FROM state, generate_series(1, 50000) i`, rowBits),
		"ANALYZE messages",
		"SET plan_cache_mode = force_generic_plan",
		"PREPARE around(uuid, bigint, bigint, bigint[]) AS " + expand(postgres, loneAround+"= ANY(?) LIMIT 5000", true),
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	var account, topics string
	if err := db.QueryRowContext(ctx, "SELECT account_id::text, (SELECT array_agg(i * 2)::text FROM generate_series(1, 512) i) FROM state").Scan(&account, &topics); err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf("EXPLAIN ANALYZE EXECUTE around('%s', %d, %d, '%s')", account, int64(1700000000)<<rowBits, int64(1730000000)<<rowBits, topics))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, line[:min(len(line), 200)])
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	t.Log(strings.Join(plan, "\n"))
	if !strings.Contains(plan[1], "messages_subject") {
		t.Error("it is not that of subjects")
	}
}
