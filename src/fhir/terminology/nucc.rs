//! The Health Care Provider Taxonomy as the NUCC publishes it, a CSV file, as a CodeSystem (nucc.org, "Code Set").
//!
//! The codes are free to use, the file is not free to hand on: so it is not built in, and an operator brings it.

use std::collections::HashMap;
use std::fmt;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value, json};

/// The system of the codes.
pub const URL: &str = "http://nucc.org/provider-taxonomy";

/// Columns that must be there, and those that newer files have.
const REQUIRED: [&str; 4] = ["Code", "Grouping", "Classification", "Specialization"];
const PROPERTIES: [(&str, &str); 4] = [
    ("grouping", "Grouping"),
    ("classification", "Classification"),
    ("specialization", "Specialization"),
    ("section", "Section"),
];
/// The last letter of every code, and how many characters stand before it.
const CODE_END: char = 'X';
const CODE_BODY_CHARS: usize = 9;

/// What is wrong with a file, and on which line (the first is 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub line: u64,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// The CodeSystem of a file, `version` as in [`version_of`].
///
/// # Errors
/// Every [`Fault`] of the file, in order.
pub fn code_system(file: &[u8], version: Option<&str>) -> Result<Value, Vec<Fault>> {
    if let Some(line) = open_quote(file) {
        return Err(vec![Fault { line, what: "a quote is opened and never closed".into() }]);
    }
    // Flexible, so that a row of another length is told in our words, and an empty one is passed over.
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut rows = reader.byte_records();
    let (columns, width) = match rows.next() {
        Some(Ok(header)) => (columns(&header)?, header.len()),
        Some(Err(error)) => return Err(vec![unreadable(&error)]),
        None => return Err(vec![Fault { line: 1, what: "the file is empty".into() }]),
    };
    let mut faults = Vec::new();
    let mut lines = HashMap::new();
    let mut concepts = Vec::new();
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                faults.push(unreadable(&error));
                break;
            }
        };
        if row.iter().all(|field| field.trim_ascii().is_empty()) {
            continue;
        }
        let line = row.position().map_or(0, csv::Position::line);
        // One quote or comma too many moves every column behind it.
        if row.len() != width {
            let what = format!("{} fields, where the header has {width}", row.len());
            faults.push(Fault { line, what });
            continue;
        }
        let row = Row { columns: &columns, fields: &row };
        match row.code() {
            Err(what) => faults.push(Fault { line, what }),
            Ok(code) => match lines.insert(code.clone(), line) {
                Some(first) => faults.push(Fault { line, what: format!("{code} stands on line {first} already") }),
                None => concepts.push(row.concept(&code)),
            },
        }
    }
    if concepts.is_empty() && faults.is_empty() {
        faults.push(Fault { line: 1, what: "there is no code below the header".into() });
    }
    if faults.is_empty() { Ok(resource(concepts, version)) } else { Err(faults) }
}

/// The version in the name of an official file: `nucc_taxonomy_251.csv` is 25.1.
pub fn version_of(file_name: &str) -> Option<String> {
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
    let digits = stem.rsplit('_').next().filter(|digits| digits.len() == 3)?;
    let (year, release) = digits.split_at_checked(2)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| format!("{year}.{release}"))
}

/// The line of a quoted field that goes on to the end of the file: all rows behind it would be lost in it.
fn open_quote(file: &[u8]) -> Option<u64> {
    enum At {
        FieldStart,
        Plain,
        Quoted,
        /// Behind a quote in a quoted field: a second one stands for one, anything else ends the field.
        Quote,
    }
    let (mut at, mut line, mut opened) = (At::FieldStart, 1, 1);
    for byte in file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file) {
        at = match (at, byte) {
            (At::FieldStart, b'"') => {
                opened = line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) | (At::Quote, b'"') => At::Quoted,
            (_, b',' | b'\r' | b'\n') => At::FieldStart,
            _ => At::Plain,
        };
        line += u64::from(*byte == b'\n');
    }
    matches!(at, At::Quoted).then_some(opened)
}

fn unreadable(error: &csv::Error) -> Fault {
    Fault { line: error.position().map_or(0, csv::Position::line), what: format!("the line is no CSV: {error}") }
}

/// Where each column is, by its name.
fn columns(header: &ByteRecord) -> Result<HashMap<String, usize>, Vec<Fault>> {
    let name = |field: &[u8]| text(field).trim_start_matches('\u{feff}').trim().to_lowercase();
    let columns: HashMap<String, usize> = header.iter().enumerate().map(|(at, field)| (name(field), at)).collect();
    let missing = REQUIRED.iter().filter(|column| !columns.contains_key(&column.to_lowercase()));
    let faults: Vec<Fault> =
        missing.map(|column| Fault { line: 1, what: format!("the column {column} is missing") }).collect();
    if faults.is_empty() { Ok(columns) } else { Err(faults) }
}

struct Row<'a> {
    columns: &'a HashMap<String, usize>,
    fields: &'a ByteRecord,
}

impl Row<'_> {
    /// What the row has in a column; `None` for nothing.
    fn get(&self, column: &str) -> Option<String> {
        let field = self.fields.get(*self.columns.get(&column.to_lowercase())?)?;
        let text = text(field).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn code(&self) -> Result<String, String> {
        let code = self.get("Code").ok_or("there is no code")?;
        let body = code.strip_suffix(CODE_END);
        let is_code = body.is_some_and(|body| {
            body.len() == CODE_BODY_CHARS && body.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        });
        let shown: String = code.chars().take(20).collect();
        if is_code {
            Ok(code)
        } else {
            Err(format!("'{shown}' is no code: it is nine digits and capital letters, then an X"))
        }
    }

    fn display(&self) -> Option<String> {
        self.get("Display Name").or_else(|| {
            let parts: Vec<String> =
                ["Grouping", "Classification", "Specialization"].iter().filter_map(|column| self.get(column)).collect();
            (!parts.is_empty()).then(|| parts.join(" / "))
        })
    }

    fn concept(&self, code: &str) -> Value {
        let mut concept = Map::new();
        concept.insert("code".into(), code.into());
        if let Some(display) = self.display() {
            concept.insert("display".into(), display.into());
        }
        if let Some(definition) = self.get("Definition") {
            concept.insert("definition".into(), definition.into());
        }
        let properties: Vec<Value> = PROPERTIES
            .iter()
            .filter_map(|(property, column)| Some(json!({"code": property, "valueString": self.get(column)?})))
            .collect();
        if !properties.is_empty() {
            concept.insert("property".into(), properties.into());
        }
        Value::Object(concept)
    }
}

fn resource(concepts: Vec<Value>, version: Option<&str>) -> Value {
    let mut system = json!({
        "resourceType": "CodeSystem",
        "id": "nucc-provider-taxonomy",
        "url": URL,
        "name": "NuccProviderTaxonomy",
        "title": "NUCC Health Care Provider Taxonomy",
        "status": "active",
        "publisher": "National Uniform Claim Committee",
        "caseSensitive": true,
        "content": "complete",
        "count": concepts.len(),
        "property": PROPERTIES.iter().map(|(property, _)| json!({"code": property, "type": "string"})).collect::<Vec<_>>(),
        "concept": concepts,
    });
    if let (Some(version), Some(system)) = (version, system.as_object_mut()) {
        system.insert("version".into(), version.into());
    }
    system
}

/// A field as text: UTF-8, or else Windows-1252. Official files have had both, side by side.
fn text(field: &[u8]) -> String {
    std::str::from_utf8(field).map_or_else(|_| field.iter().map(|byte| cp1252(*byte)).collect(), str::to_owned)
}

fn cp1252(byte: u8) -> char {
    /// 0x80 to 0x9F; the five that mean nothing are U+FFFD.
    const HIGH: [char; 32] = [
        '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž', '\u{fffd}',
        '\u{fffd}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}', 'ž', 'Ÿ',
    ];
    let high = byte.checked_sub(0x80).and_then(|at| HIGH.get(usize::from(at)));
    high.copied().unwrap_or(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Code,Grouping,Classification,Specialization,Definition,Notes,Display Name,Section";

    fn concepts(file: &[u8]) -> Vec<Value> {
        let system = code_system(file, None).expect("a good file");
        system["concept"].as_array().expect("concepts").clone()
    }

    fn faults(file: &str) -> Vec<String> {
        code_system(file.as_bytes(), None).expect_err("a bad file").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_row_is_a_concept_with_its_properties() {
        let file = format!(
            "\u{feff}{HEADER}\r\n207Q00000X,Allopathic & Osteopathic Physicians,Family Medicine,,\"Cares for \"\"all\"\",\nold and young.\",,Family Medicine Physician,Individual\r\n,,,,,,,\r\n"
        );
        assert_eq!(
            concepts(file.as_bytes()),
            [json!({
                "code": "207Q00000X", "display": "Family Medicine Physician", "definition": "Cares for \"all\",\nold and young.",
                "property": [
                    {"code": "grouping", "valueString": "Allopathic & Osteopathic Physicians"},
                    {"code": "classification", "valueString": "Family Medicine"},
                    {"code": "section", "valueString": "Individual"},
                ],
            })]
        );
        let system = code_system(file.as_bytes(), Some("25.1")).expect("a good file");
        assert_eq!(
            (&system["version"], &system["count"], &system["content"]),
            (&json!("25.1"), &json!(1), &json!("complete"))
        );
    }

    #[test]
    fn older_files_have_no_display_and_columns_in_any_order() {
        let found =
            concepts(b"Specialization,Code,Classification,Grouping\nAdult,207QA0505X,Family Medicine,Physicians\n");
        assert_eq!(found[0]["display"], "Physicians / Family Medicine / Adult");
    }

    #[test]
    fn both_encodings_may_stand_in_one_file() {
        let mut file = HEADER.as_bytes().to_vec();
        file.extend(b"\n207Q00000X,G,C,,A physician\x92s \x96 caf\xe9,,One,\n207QA0505X,G,C,S,");
        file.extend("Ménière’s".as_bytes());
        file.extend(b",,Two,\n");
        let found = concepts(&file);
        assert_eq!(found[0]["definition"], "A physician’s – café");
        assert_eq!(found[1]["definition"], "Ménière’s");
    }

    #[test]
    fn each_fault_is_told_with_its_line() {
        let file = format!("{HEADER}\n207Q00000X,G,C,,,,A,\n207q00000X,G,C,,,,B,\n207Q00000X,G,C,,,,A,\n,G,C,,,,D,\n");
        assert_eq!(
            faults(&file),
            [
                "line 3: '207q00000X' is no code: it is nine digits and capital letters, then an X",
                "line 4: 207Q00000X stands on line 2 already",
                "line 5: there is no code",
            ]
        );
        assert_eq!(
            faults("Code,Grouping\n"),
            ["line 1: the column Classification is missing", "line 1: the column Specialization is missing"]
        );
        let widths = format!("{HEADER}\n207Q00000X,G,C,,,,A,\n\n  \n207QA0505X,G,C,,,,A\n261QP2300X,G,C,,a,b,,A,\n");
        assert_eq!(
            faults(&widths),
            ["line 5: 7 fields, where the header has 8", "line 6: 9 fields, where the header has 8"]
        );
        let last =
            format!("{HEADER}\n207Q00000X,G,\"C \"\"c\"\"\",,,,A,\n207QA0505X,G,C,,,,A,\"In\n261QP2300X,G,C,,,,A,In\n");
        assert_eq!(faults(&last), ["line 3: a quote is opened and never closed"]);
        assert_eq!(faults(""), ["line 1: the file is empty"]);
        assert_eq!(faults(HEADER), ["line 1: there is no code below the header"]);
        assert!(code_system(b"PK\x03\x04\x00\x00", None).is_err(), "a ZIP");
    }

    #[test]
    fn the_version_is_in_the_name() {
        for (name, version) in [
            ("nucc_taxonomy_251.csv", Some("25.1")),
            ("nucc_taxonomy_90.csv", None),
            ("251.csv", Some("25.1")),
            ("taxonomy.csv", None),
            ("nucc_taxonomy_2é.csv", None),
        ] {
            assert_eq!(version_of(name).as_deref(), version, "{name}");
        }
    }
}
