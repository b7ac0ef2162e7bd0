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

    /// `EXISTS`, evaluated for each row at hand. SQLite would make a join of a plain one and may then begin with the
    /// table inside, which a probe is there to avoid; PostgreSQL is to choose.
    pub fn exists(self) -> &'static str {
        match self {
            Self::Sqlite => "1 = EXISTS",
            Self::Postgres => "EXISTS",
        }
    }

    /// After the table `resource`: walk it in order of the row ids. SQLite keeps no statistics to see by itself that this
    /// index ends a page early.
    pub fn in_order(self) -> &'static str {
        match self {
            Self::Sqlite => "INDEXED BY resource_live ",
            Self::Postgres => "",
        }
    }

    /// Locks the rows of a SELECT against other writers. SQLite has one writer only.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
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
