//! Street addresses.

use serde_json::{Map, Value};

use super::elements::{geolocation, list, text};
use super::places::City;
use super::random::Random;

#[rustfmt::skip]
const STREETS: [&str; 32] = [
    "Main Street", "Oak Avenue", "Maple Street", "Washington Avenue", "Lincoln Boulevard", "Park Avenue", "Elm Street",
    "Cedar Lane", "Market Street", "Broadway", "Second Street", "Third Avenue", "Church Street", "Highland Drive",
    "Lake Street", "River Road", "Center Street", "Mill Road", "University Avenue", "Jefferson Street", "Sunset Drive",
    "College Avenue", "Union Street", "Prospect Street", "Franklin Street", "Spring Street", "Grand Avenue",
    "Walnut Street", "Chestnut Street", "Madison Street", "Commerce Drive", "Medical Center Parkway",
];

/// An address in some street of a city.
pub(super) struct Address {
    lines: Vec<String>,
    city: City,
    zip: String,
}

impl Address {
    pub(super) fn new(random: &mut Random, city: City) -> Self {
        let mut lines = vec![format!("{} {}", random.between(100, 9_899), random.pick(&STREETS))];
        if random.chance(30) {
            lines.push(format!("Suite {}", random.between(1, 9) * 100 + random.between(1, 40)));
        }
        let zip = format!("{}{:02}", city.zip, random.between(1, 79));
        Self { lines, city, zip }
    }

    /// As FHIR Address, with the place's own position in front where one is given.
    pub(super) fn value(self, position: Option<(i64, i64)>) -> Value {
        Value::Object(self.fields(position))
    }

    /// With type and text as well, as Plan-Net expects of organizations.
    pub(super) fn full_value(self, position: Option<(i64, i64)>) -> Value {
        let written = format!("{}, {}, {} {}", self.lines.join(", "), self.city.name, self.city.state().code, self.zip);
        let mut fields = self.fields(position);
        fields.insert("type".to_owned(), text("both"));
        fields.insert("text".to_owned(), text(written));
        Value::Object(fields)
    }

    fn fields(self, position: Option<(i64, i64)>) -> Map<String, Value> {
        let mut fields = Map::with_capacity(9);
        if let Some(position) = position {
            fields.insert("extension".to_owned(), list([geolocation(position)]));
        }
        fields.insert("use".to_owned(), text("work"));
        fields.insert("line".to_owned(), self.lines.into_iter().map(text).collect());
        fields.insert("city".to_owned(), text(self.city.name));
        fields.insert("state".to_owned(), text(self.city.state().code));
        fields.insert("postalCode".to_owned(), text(self.zip));
        fields.insert("country".to_owned(), text("US"));
        fields
    }
}
