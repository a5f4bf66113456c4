// What applications do with pgx, through the DSN given. Autocommit statements name the table accounts, those in transactions the table
// ledger (one read a write). Prints "reads N writes N" of accounts at the end; any wrong answer ends it.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const rounds = 100

var reads, writes int

func check(err error) {
	if err != nil {
		panic(err)
	}
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func readAll(ctx context.Context, db querier) {
	for i := 1; i <= rounds; i++ {
		var balance int64
		check(db.QueryRow(ctx, "SELECT balance FROM accounts WHERE id = $1", i).Scan(&balance))
		if balance != int64(i*10) {
			panic(fmt.Sprintf("account %d has %d", i, balance))
		}
	}
}

func connect(ctx context.Context, dsn string, mode pgx.QueryExecMode) *pgx.Conn {
	config, err := pgx.ParseConfig(dsn)
	check(err)
	config.DefaultQueryExecMode = mode
	connection, err := pgx.ConnectConfig(ctx, config)
	check(err)
	return connection
}

func eachMode(ctx context.Context, dsn string) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		fmt.Println(mode)
		connection := connect(ctx, dsn, mode)
		readAll(ctx, connection)
		reads += rounds
		_, err := connection.Exec(ctx, "UPDATE accounts SET balance = balance WHERE id = $1", 901)
		check(err)
		writes++
		check(connection.Close(ctx))
	}
}

func pool(ctx context.Context, dsn string) {
	db, err := pgxpool.New(ctx, dsn)
	check(err)
	defer db.Close()
	var wait sync.WaitGroup
	for i := 0; i < 8; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			readAll(ctx, db)
		}()
	}
	wait.Wait()
	reads += 8 * rounds
}

func transactions(ctx context.Context, dsn string) {
	connection := connect(ctx, dsn, pgx.QueryExecModeCacheStatement)
	defer connection.Close(ctx)
	for i := 0; i < 20; i++ {
		check(pgx.BeginFunc(ctx, connection, func(tx pgx.Tx) error {
			var delta int64
			if _, err := tx.Exec(ctx, "INSERT INTO ledger VALUES ($1, $2)", i, i); err != nil {
				return err
			}
			err := tx.QueryRow(ctx, "SELECT sum(delta)::bigint FROM ledger WHERE id = $1", i).Scan(&delta)
			if err == nil && delta != int64(i) {
				err = fmt.Errorf("ledger %d has %d", i, delta)
			}
			return err
		}))
	}
}

func batch(ctx context.Context, dsn string) {
	connection := connect(ctx, dsn, pgx.QueryExecModeCacheStatement)
	defer connection.Close(ctx)
	for round := 0; round < 10; round++ {
		b := &pgx.Batch{}
		for i := 1; i <= 10; i++ {
			b.Queue("SELECT balance FROM accounts WHERE id = $1", i)
		}
		results := connection.SendBatch(ctx, b)
		for i := 1; i <= 10; i++ {
			var balance int64
			check(results.QueryRow().Scan(&balance))
			if balance != int64(i*10) {
				panic("batch: wrong balance")
			}
		}
		check(results.Close())
		reads += 10
	}
}

func main() {
	ctx := context.Background()
	dsn := os.Args[1] + " sslmode=disable"
	eachMode(ctx, dsn)
	fmt.Println("pool")
	pool(ctx, dsn)
	fmt.Println("transactions")
	transactions(ctx, dsn)
	fmt.Println("batch")
	batch(ctx, dsn)
	fmt.Printf("reads %d writes %d\n", reads, writes)
}
