//! The few expressions in which the two databases differ.

/// Which database a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The position of the text `needle` in the text `hay`, 0 when it is not in it: `{f}(hay, needle)`.
    pub fn position_of(self) -> &'static str {
        match self {
            Self::Sqlite => "instr",
            Self::Postgres => "strpos",
        }
    }

    /// A condition that is always true and lets a statement be ended between two rows; see `limit`. PostgreSQL ends
    /// statements by itself.
    pub fn go_on(self) -> &'static str {
        match self {
            Self::Sqlite => " AND plumbline_go_on()",
            Self::Postgres => "",
        }
    }

    /// The beginning and the end of an `EXISTS` that is evaluated for each row at hand. Both databases would make a join
    /// of a plain one, and may then begin with the table inside, which a probe is there to avoid.
    pub fn exists(self) -> (&'static str, &'static str) {
        match self {
            Self::Sqlite => ("1 = EXISTS (", ")"),
            Self::Postgres => ("EXISTS (", " OFFSET 0)"),
        }
    }

    /// The end of a subquery that is executed as it stands. SQLite does that by itself for the outer side of a CROSS JOIN.
    pub fn fence(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " OFFSET 0",
        }
    }

    /// Between a subquery and a table: for each row of the one, look up the other, never the other way round. Followed by
    /// the table with its alias and a WHERE, and closed by [`Self::looked_up`].
    pub fn look_up(self) -> &'static str {
        match self {
            Self::Sqlite => " CROSS JOIN ",
            Self::Postgres => " CROSS JOIN LATERAL (SELECT * FROM ",
        }
    }

    /// Closes [`Self::look_up`]; `t` is the alias of the table.
    pub fn looked_up(self, t: &str) -> String {
        match self {
            Self::Sqlite => self.go_on().to_owned(),
            Self::Postgres => format!(" OFFSET 0) {t}"),
        }
    }

    /// What a PostgreSQL connection that searches is set to. A statement says by itself in which order it is to be executed, so
    /// that PostgreSQL can plan it once, without its values: planning anew takes longer than most searches do.
    pub const SEARCH_SESSION: &str = "SET plan_cache_mode = force_generic_plan; SET jit = off; \
        SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";

    /// After the table `resource`: walk it in order of the row ids. SQLite keeps no statistics to see by itself that this
    /// index ends a page early.
    pub fn in_order(self) -> &'static str {
        match self {
            Self::Sqlite => "INDEXED BY resource_live ",
            Self::Postgres => "",
        }
    }

    /// Matches from which a walk over the type, which probes each resource until it has a page, is better than collecting
    /// all matches and sorting them. A probe costs PostgreSQL ten times as much as SQLite.
    pub fn broad_alone(self) -> i64 {
        match self {
            Self::Sqlite => 500,
            Self::Postgres => 5_000,
        }
    }

    /// Begins a transaction that writes.
    pub fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Begins a transaction in which every statement sees the same state.
    pub fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}
