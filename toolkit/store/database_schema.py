"""The tables of the database; the file's `user_version` is their version.

One row per artifact. `body` is the artifact as JSON; `samples` are its raw measurements as little-endian doubles, apart,
so that a listing never reads them. `sequence` orders artifacts as they
were recorded, even if the clock was set back meanwhile. Views give people with a SQLite shell the columns they look for.
"""

from __future__ import annotations

import sqlite3

from toolkit.errors import MachineError

VERSION = 1
SCHEMA = """
    CREATE TABLE artifact (
        kind TEXT NOT NULL,
        digest TEXT NOT NULL,
        parent TEXT NOT NULL,
        recorded_at TEXT NOT NULL,
        body TEXT NOT NULL CHECK (json_valid(body)),
        samples BLOB,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (kind, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX artifact_sequence ON artifact (sequence);
    CREATE INDEX artifact_parent ON artifact (parent);
    CREATE VIEW trained_model AS
        SELECT digest, parent AS split, recorded_at,
               body ->> 'experiment' AS experiment, body ->> 'network' AS network, body ->> 'head' AS head,
               body ->> 'stage' AS stage, body ->> 'weights' AS weights, body ->> 'note' AS note,
               body ->> '$.evaluation.accuracy' AS accuracy, body ->> '$.evaluation.loss' AS loss
        FROM artifact WHERE kind = 'TrainedModel';
    CREATE VIEW bench_record AS
        SELECT digest, parent AS bundle, recorded_at, body ->> 'device' AS device, body ->> 'scenario' AS scenario,
               body ->> 'accelerator' AS accelerator, body ->> 'wall_s' AS wall_s, body ->> 'quick' AS quick,
               body ->> 'broken_rules' AS broken_rules, body ->> 'accuracy' AS accuracy,
               length(samples) / 8 AS samples
        FROM artifact WHERE kind = 'BenchRecord';
    CREATE VIEW deployment AS
        SELECT digest, parent AS bundle, recorded_at, body ->> 'device' AS device, body ->> 'release' AS release,
               body ->> 'outcome' AS outcome, body ->> 'reason' AS reason, body ->> 'sent_bytes' AS sent_bytes,
               body ->> 'rollout' AS rollout, body ->> 'batch' AS batch, body ->> 'gates' AS gates
        FROM artifact WHERE kind = 'Deployment';
    CREATE VIEW captures AS
        SELECT digest, parent AS release, body ->> 'device' AS device, body ->> 'camera' AS camera,
               body ->> 'time' AS time, body ->> 'policy' AS policy, body ->> 'label' AS class,
               body ->> 'confidence' AS confidence, body ->> 'probabilities' AS probabilities, body ->> 'score' AS score,
               body ->> 'collected_at' AS collected_at
        FROM artifact WHERE kind = 'CapturedImage';
"""


def create_tables(connection: sqlite3.Connection, where: str) -> None:
    """Create the tables in a new file, whole or not at all.

    Raises:
        MachineError: a newer toolkit wrote the file.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise MachineError(
            "the database was written by a newer toolkit",
            where=where,
            remedy="update this one, or use another --workspace",
        )
    if version < VERSION:
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
