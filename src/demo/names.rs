//! Names of people, put together at random from common American family and given names.

use serde_json::Value;

use super::elements::{list, object, text};
use super::random::Random;

/// A person's name; most have two given names.
#[derive(Debug, Clone, Copy)]
pub(super) struct PersonName {
    pub(super) family: &'static str,
    pub(super) given: (&'static str, Option<&'static str>),
    pub(super) gender: &'static str,
}

pub(super) fn person_name(random: &mut Random) -> PersonName {
    // 60, 90 and 50 names at 6, 3 and 1 shares: in 20,000 practitioners a frequent name turns up some 180 times and a
    // rare one some 30 times. Smith is put among the rare, so that searching `Smi` fills a few pages and no more.
    let family = match random.below(68) {
        0..36 => random.pick(&FREQUENT),
        36..63 => random.pick(&USUAL),
        _ => random.pick(&RARE),
    };
    let (gender, pool) = if random.chance(54) { ("female", &FEMALE) } else { ("male", &MALE) };
    let first = random.pick(pool);
    let second = random.chance(60).then(|| random.pick(pool)).filter(|second| *second != first);
    PersonName { family, given: (first, second), gender }
}

impl PersonName {
    /// As FHIR HumanName, without titles.
    pub(super) fn plain(&self) -> Value {
        object([("text", text(self.written())), ("family", text(self.family)), ("given", self.given())])
    }

    /// As FHIR HumanName with title and the letters of the degree.
    pub(super) fn titled(&self, title: Option<&str>, letters: &str) -> Value {
        let title_words = title.map(|title| format!("{title} ")).unwrap_or_default();
        let written = text(format!("{title_words}{}, {letters}", self.written()));
        let (family, suffix) = (text(self.family), list([text(letters)]));
        let start = [("use", text("official")), ("text", written), ("family", family), ("given", self.given())];
        let [usage, words, family, given] = start;
        match title {
            Some(title) => object([usage, words, family, given, ("prefix", list([text(title)])), ("suffix", suffix)]),
            None => object([usage, words, family, given, ("suffix", suffix)]),
        }
    }

    fn given(&self) -> Value {
        match self.given {
            (first, Some(second)) => list([text(first), text(second)]),
            (first, None) => list([text(first)]),
        }
    }

    fn written(&self) -> String {
        match self.given {
            (first, Some(second)) => format!("{first} {second} {}", self.family),
            (first, None) => format!("{first} {}", self.family),
        }
    }
}

#[rustfmt::skip]
const FREQUENT: [&str; 60] = [
    "Johnson", "Williams", "Brown", "Jones", "Garcia", "Miller", "Davis", "Rodriguez", "Martinez", "Hernandez",
    "Lopez", "Gonzalez", "Wilson", "Anderson", "Thomas", "Taylor", "Moore", "Jackson", "Martin", "Lee", "Perez",
    "Thompson", "White", "Harris", "Sanchez", "Clark", "Ramirez", "Lewis", "Robinson", "Walker", "Young", "Allen",
    "King", "Wright", "Scott", "Torres", "Nguyen", "Hill", "Flores", "Green", "Adams", "Nelson", "Baker", "Hall",
    "Rivera", "Campbell", "Mitchell", "Carter", "Roberts", "Patel", "Kim", "Chen", "Singh", "Shah", "Khan", "Park",
    "Wang", "Tran", "Cohen", "Murphy",
];

#[rustfmt::skip]
const USUAL: [&str; 90] = [
    "Phillips", "Evans", "Turner", "Parker", "Collins", "Edwards", "Stewart", "Morris", "Morales", "Cook", "Rogers",
    "Gutierrez", "Ortiz", "Morgan", "Cooper", "Peterson", "Bailey", "Reed", "Kelly", "Howard", "Ramos", "Cox", "Ward",
    "Richardson", "Watson", "Brooks", "Chavez", "Wood", "James", "Bennett", "Gray", "Mendoza", "Ruiz", "Hughes",
    "Price", "Alvarez", "Castillo", "Sanders", "Myers", "Long", "Ross", "Foster", "Jimenez", "O'Brien", "O'Connor",
    "Núñez", "Muñoz", "Peña", "Ibáñez", "Gómez", "Müller", "Schäfer", "Kowalski", "Novak", "Rossi", "Romano",
    "Silva", "Santos", "Ferreira", "Almeida", "Yamamoto", "Tanaka", "Nakamura", "Watanabe", "Zhang", "Liu", "Huang",
    "Lin", "Wu", "Choi", "Yoon", "Gupta", "Sharma", "Reddy", "Iyer", "Desai", "Rahman", "Hussain", "Haddad",
    "Nasser", "Okafor", "Adeyemi", "Mensah", "Abebe", "Petrov", "Ivanova", "Friedman", "Goldberg", "Levy", "Larsen",
];

#[rustfmt::skip]
const RARE: [&str; 50] = [
    "Smith", "Smith-Jones", "García-López", "Taylor-Reyes", "Lee-Chen", "Brown-Okafor", "Martin-Dubois",
    "Nguyen-Hall", "Rivera-Colón", "Kim-Anderson", "O'Sullivan", "O'Neill", "D'Angelo", "D'Souza", "McAllister",
    "MacDonald", "Van Dyke", "Van den Berg", "De la Cruz", "De León", "St. James", "Björklund", "Åkesson",
    "Østergaard", "Łukasiewicz", "Dvořák", "Nováková", "Szabó", "Kovács", "Gonçalves", "Conceição", "Araújo",
    "Bélanger", "Côté", "Lefèvre", "Weiß", "Größe", "Vogel", "Zimmermann", "Papadopoulos", "Stavros", "Yılmaz",
    "Çelik", "Özdemir", "Tupou", "Kealoha", "Begay", "Tsosie", "Zielinski", "Quisenberry",
];

#[rustfmt::skip]
const FEMALE: [&str; 76] = [
    "Mary", "Patricia", "Jennifer", "Linda", "Elizabeth", "Barbara", "Susan", "Jessica", "Sarah", "Karen", "Lisa",
    "Nancy", "Sandra", "Ashley", "Emily", "Kimberly", "Margaret", "Donna", "Michelle", "Carol", "Amanda", "Melissa",
    "Deborah", "Stephanie", "Rebecca", "Laura", "Helen", "Sharon", "Cynthia", "Amy", "Angela", "Anna", "Ruth",
    "Virginia", "Christine", "Samantha", "Rachel", "Olivia", "Grace", "Hannah", "Julia", "Sofía", "María", "Lucía",
    "Inés", "Zoë", "Chloé", "Renée", "Anaïs", "Mary-Kate", "Anne-Marie", "Priya", "Ananya", "Lakshmi", "Fatima",
    "Aisha", "Layla", "Mei", "Ling", "Yuki", "Hana", "Soo-jin", "Thuy", "Ngoc", "Olga", "Irina", "Ewa", "Ingrid",
    "Freja", "Amara", "Chioma", "Imani", "Keisha", "Rosa", "Gabriela", "Valentina",
];

#[rustfmt::skip]
const MALE: [&str; 76] = [
    "James", "Robert", "John", "Michael", "David", "William", "Richard", "Joseph", "Thomas", "Christopher",
    "Charles", "Daniel", "Matthew", "Anthony", "Mark", "Donald", "Steven", "Andrew", "Paul", "Joshua", "Kenneth",
    "Kevin", "Brian", "George", "Timothy", "Ronald", "Edward", "Jason", "Jeffrey", "Ryan", "Jacob", "Nicholas",
    "Gary", "Eric", "Jonathan", "Stephen", "Larry", "Justin", "Scott", "Brandon", "Benjamin", "Samuel", "Gregory",
    "Alexander", "Patrick", "José", "Jesús", "Andrés", "Raúl", "Óscar", "François", "René", "Jürgen", "Søren",
    "Jean-Paul", "Juan-Carlos", "Arjun", "Rahul", "Vikram", "Omar", "Yusuf", "Hassan", "Wei", "Jun", "Hiroshi",
    "Kenji", "Min-ho", "Minh", "Tuan", "Dmitri", "Sergei", "Tomasz", "Kwame", "Chidi", "Malik", "Mateo",
];
