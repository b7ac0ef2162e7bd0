//! Practitioners: name, numbers, licenses, languages.

use serde_json::Value;

use super::addresses::Address;
use super::elements::{
    Code, MEDICAL_LICENSE, NUCC, PROVIDER_NUMBER, Resource, answered, concept, contact, extended, extension,
    identifier, list, npi, object, part, parts, period, phone_number, plan_net_concept, reference, state_concept, text,
};
use super::layout::{Layout, area_id, board_id, practitioner_id};
use super::npi;
use super::organizations::NATIONAL_BOARD;
use super::people::{Person, person};
use super::random::{Random, Stream};
use super::specialties::Degree;

/// HL7 table 0360, degrees and licenses.
const DEGREES: &str = "http://terminology.hl7.org/CodeSystem/v2-0360";

/// Languages besides English, from FHIR's list of common ones, with how often they are spoken.
const LANGUAGES: [(Code, u32); 12] = [
    (("es", "Spanish"), 50),
    (("zh", "Chinese"), 10),
    (("fr", "French"), 8),
    (("ru", "Russian"), 6),
    (("ar", "Arabic"), 6),
    (("ko", "Korean"), 5),
    (("pt", "Portuguese"), 4),
    (("de", "German"), 4),
    (("pl", "Polish"), 3),
    (("it", "Italian"), 3),
    (("ja", "Japanese"), 2),
    (("bn", "Bengali"), 2),
];

const PROFICIENCIES: [Code; 4] = [
    ("20", "Limited working proficiency"),
    ("30", "General professional proficiency"),
    ("40", "Advanced professional proficiency"),
    ("50", "Functional native proficiency"),
];

pub(super) fn practitioner(layout: &Layout, index: usize) -> Option<Value> {
    let person = person(layout, index)?;
    let mut random = Random::new(layout.seed, Stream::Practitioner, index);
    let mut practitioner = Resource::new("Practitioner", practitioner_id(index), "Practitioner");
    if random.chance(15) {
        let since = period(random.date(1995, 2023), None);
        practitioner.set_all("extension", vec![extension("practitioner-period", "valuePeriod", since)]);
    }
    let mut identifiers = vec![npi(npi::individual(layout.seed, index))];
    if random.chance(10) {
        let number = format!("PRV-{:06}", index + 1);
        identifiers.push(identifier(PROVIDER_NUMBER, "https://directory.example.org/providers", number));
    }
    practitioner.set_all("identifier", identifiers);
    practitioner.set("active", true.into());
    let osteopath = random.chance(9);
    let (degree, letters) = degree(&person, osteopath);
    let doctor = !matches!(letters, "NP" | "PA-C" | "MS" | "OTR/L" | "RPh");
    practitioner.set("name", list([person.name.titled(doctor.then_some("Dr."), letters)]));
    practitioner.set("telecom", telecom(&mut random, index, person.city.area_code));
    if random.chance(30) {
        let position = random.chance(50).then(|| person.city.somewhere(&mut random));
        practitioner.set("address", list([Address::new(&mut random, person.city).value(position)]));
    }
    practitioner.set("gender", text(person.name.gender));
    let mut qualifications = Vec::with_capacity(2);
    if random.chance(55) {
        qualifications.push(license(&mut random, index, &person, degree));
    }
    if random.chance(12) {
        qualifications.push(certificate(&mut random, &person));
    }
    practitioner.set_all("qualification", qualifications);
    if random.chance(25) {
        practitioner.set_all("communication", languages(&mut random));
    }
    Some(practitioner.finish())
}

/// The degree as a coded concept, and the letters after the name.
fn degree(person: &Person, osteopath: bool) -> (Value, &'static str) {
    match person.specialty.degree {
        Degree::Physician if osteopath => (concept(DEGREES, ("DO", "Doctor of Osteopathy")), "DO"),
        Degree::Physician => (concept(DEGREES, ("MD", "Doctor of Medicine")), "MD"),
        Degree::Table(code, letters) => (concept(DEGREES, code), letters),
        Degree::Own(letters) => (concept(NUCC, person.specialty.code), letters),
    }
}

fn telecom(random: &mut Random, index: usize, area_code: u32) -> Value {
    let mut phone = contact("phone", phone_number(random, area_code), "work");
    if random.chance(4) {
        phone = extended(phone, vec![answered(random)]);
    }
    if random.chance(60) {
        let mail = text(format!("{}@mail.example.org", practitioner_id(index)));
        list([phone, contact("email", mail, "work")])
    } else {
        list([phone])
    }
}

/// The license to practice in the state of the main post.
fn license(random: &mut Random, index: usize, person: &Person, degree: Value) -> Value {
    let state = person.city.state().code;
    let valid = if random.chance(90) {
        part("whereValid", "valueCodeableConcept", state_concept(state))
    } else {
        part("whereValid", "valueReference", reference("Location", &area_id(&person.city)))
    };
    let standing = parts("practitioner-qualification", vec![part("status", "valueCode", text("active")), valid]);
    let issuer = reference("Organization", &board_id(&person.city));
    if random.chance(40) {
        let number = identifier(MEDICAL_LICENSE, "https://licenses.example.org", format!("{state}{:07}", index + 1));
        let (from, until) = (random.date(2008, 2023), random.date(2027, 2031));
        object([
            ("extension", list([standing])),
            ("identifier", list([number])),
            ("code", degree),
            ("period", period(from, Some(until))),
            ("issuer", issuer),
        ])
    } else {
        object([("extension", list([standing])), ("code", degree), ("issuer", issuer)])
    }
}

/// A certificate in the specialty, good everywhere.
fn certificate(random: &mut Random, person: &Person) -> Value {
    let standing = parts("practitioner-qualification", vec![part("status", "valueCode", text("active"))]);
    let mut code = concept(NUCC, person.specialty.code);
    if let Some(fields) = code.as_object_mut() {
        fields.insert("text".to_owned(), text(format!("Board certified: {}", person.specialty.label)));
    }
    object([
        ("extension", list([standing])),
        ("code", code),
        ("period", period(random.date(2008, 2024), None)),
        ("issuer", reference("Organization", NATIONAL_BOARD)),
    ])
}

fn languages(random: &mut Random) -> Vec<Value> {
    let other = LANGUAGES.get(random.weighted(&LANGUAGES, |(_, weight)| *weight)).map(|(code, _)| *code);
    let proficiency = random.pick(&PROFICIENCIES);
    let mut languages = Vec::with_capacity(2);
    if random.chance(40) {
        languages.push(language(("en", "English"), ("50", "Functional native proficiency")));
    }
    languages.extend(other.map(|code| language(code, proficiency)));
    languages
}

fn language(code: Code, proficiency: Code) -> Value {
    let level = plan_net_concept("LanguageProficiencyCS", proficiency);
    let level = extension("communication-proficiency", "valueCodeableConcept", level);
    extended(concept("urn:ietf:bcp:47", code), vec![level])
}
