"""The figures of a month's report, by DuckDB: what an analyst would otherwise use.

    report_duckdb.py DATABASE LINES MONTH

Loads the lines into the database, once, and prints the median time of the queries that a report of `honeyguide report monthly` answers:
totals of this month and the one before, activity by hour, top lists with their distinct values, sessions and their commands, sequences of
commands, new values. Two threads.
"""
import statistics
import sys
import time
from pathlib import Path

import duckdb

database, lines, month = sys.argv[1:]
COLUMNS = {
    "eventid": "VARCHAR", "timestamp": "VARCHAR", "session": "VARCHAR", "sensor": "VARCHAR", "src_ip": "VARCHAR", "dst_ip": "VARCHAR",
    "dst_port": "VARCHAR", "protocol": "VARCHAR", "username": "VARCHAR", "password": "VARCHAR", "input": "VARCHAR", "version": "VARCHAR",
    "hassh": "VARCHAR", "url": "VARCHAR", "shasum": "VARCHAR", "filename": "VARCHAR",
}
fresh = not Path(database).exists()
db = duckdb.connect(database)
db.execute("SET threads = 2")
if fresh:
    begin = time.perf_counter()
    names = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
    db.execute(
        "CREATE TABLE events AS SELECT * EXCLUDE timestamp, TRY_CAST(timestamp AS TIMESTAMP) AS moment "
        f"FROM read_json('{lines}', format = 'newline_delimited', columns = {{{names}}}, maximum_object_size = 4194304, ignore_errors = true)"
    )
    db.execute("CHECKPOINT")
    print(f"DuckDB {duckdb.__version__}: loaded in {time.perf_counter() - begin:.1f} s, {Path(database).stat().st_size / 1e6:.0f} MB")

start = f"TIMESTAMP '{month}-01'"
WITHIN = f"moment >= {start} AND moment < {start} + INTERVAL 1 MONTH"
BEFORE = f"moment >= {start} - INTERVAL 1 MONTH AND moment < {start}"
SESSIONS = "SELECT sensor, session, min(moment) AS first, count(*) FILTER (eventid = 'cowrie.command.input') AS commands FROM events GROUP BY ALL"
TOTALS = """SELECT count(*), count(DISTINCT src_ip), count(*) FILTER (eventid LIKE 'cowrie.login.%'),
    count(*) FILTER (eventid = 'cowrie.command.input'), count(*) FILTER (eventid = 'cowrie.session.file_download') FROM events WHERE """
queries = [TOTALS + WITHIN, TOTALS + BEFORE]
for period in (f"first >= {start} AND first < {start} + INTERVAL 1 MONTH", f"first >= {start} - INTERVAL 1 MONTH AND first < {start}"):
    queries.append(f"SELECT count(*), avg(commands), max(commands), min(commands) FROM ({SESSIONS}) WHERE {period}")
queries.append(f"SELECT date_trunc('hour', moment), count(*) FROM events WHERE {WITHIN} GROUP BY 1 ORDER BY 1")
queries.append(f"SELECT sensor, count(*) FROM events WHERE {WITHIN} GROUP BY 1")
LISTS = {
    "src_ip": "true", "regexp_extract(src_ip, '^(.*)\\.', 1)": "true", "username || ':' || password": "eventid LIKE 'cowrie.login.%'",
    "username": "true", "password": "true", "input": "eventid = 'cowrie.command.input'",
    "url || ' ' || shasum": "eventid = 'cowrie.session.file_download'", "url": "eventid = 'cowrie.session.file_download'",
    "filename || ' ' || shasum": "eventid = 'cowrie.session.file_upload'", "dst_ip || ':' || dst_port": "eventid = 'cowrie.direct-tcpip.request'",
    "version": "true", "hassh": "true", "protocol": "true", "eventid": "true",
}
for value, where in LISTS.items():
    queries.append(
        f"SELECT {value} AS value, count(*) AS events, count(*) OVER () AS distinct_values FROM events "
        f"WHERE {WITHIN} AND {where} AND value IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10"
    )
for value in ("src_ip", "hassh", "shasum", "url"):
    queries.append(f"SELECT {value}, min(moment) AS first FROM events GROUP BY 1 HAVING {WITHIN.replace('moment ', 'first ')} ORDER BY 2 LIMIT 10")
queries.append(
    f"""SELECT commands, count(*) FROM (SELECT sensor, session, min(moment) AS first, list(input ORDER BY moment) AS commands FROM events
    WHERE eventid = 'cowrie.command.input' GROUP BY 1, 2) WHERE first >= {start} AND first < {start} + INTERVAL 1 MONTH
    GROUP BY 1 ORDER BY 2 DESC LIMIT 10"""
)

times = []
for _ in range(7):
    begin = time.perf_counter()
    for query in queries:
        db.execute(query).fetchall()
    times.append((time.perf_counter() - begin) * 1e3)
print(f"DuckDB: {len(queries)} queries, median {statistics.median(times):.0f} ms, max {max(times):.0f} ms")
print(f"median_ms {statistics.median(times):.1f}")
