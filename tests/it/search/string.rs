//! String parameters: beginnings, folding, `:exact`, `:contains`, the parts of names and addresses (R4 search.html#string).

use serde_json::json;

use super::{check, load, organization, refuse, resource};
use crate::harness::on_both;

on_both! {
    with (crate::search::UNHELD);

    fn a_string_is_found_by_its_beginning_whatever_its_case_and_accents(server) {
        load(server, &[
            organization("eve", json!({"name": "Eve"})),
            organization("evelyn", json!({"name": "EVELYN"})),
            organization("severine", json!({"name": "Séverine"})),
            organization("nunez", json!({"name": "Núñez Clinic"})),
            organization("decomposed", json!({"name": "Nu\u{301}n\u{303}ez Hospital"})),
            organization("wide", json!({"name": "李 Clinic"})),
        ]);
        check(server, &[
            ("Organization?name=eve", &["eve", "evelyn"]),
            ("Organization?name=EVE", &["eve", "evelyn"]),
            ("Organization?name=Évelyn", &["evelyn"]),
            ("Organization?name=sev", &["severine"]),
            ("Organization?name=erine", &[]),
            ("Organization?name=nunez", &["nunez", "decomposed"]),
            ("Organization?name=N%C3%9A%C3%91EZ%20c", &["nunez"]),
            ("Organization?name=nu%CC%81n%CC%83ez", &["nunez", "decomposed"]),
            ("Organization?name=%E6%9D%8E", &["wide"]),
            ("Organization?name=eve,sev", &["eve", "evelyn", "severine"]),
            ("Organization?name=eve&name=evelyn", &["evelyn"]),
            ("Organization?name=eve&name=sev", &[]),
        ]);
    }

    fn punctuation_and_runs_of_white_space_do_not_count(server) {
        load(server, &[
            organization("obrien", json!({"name": "O'Brien Group"})),
            organization("curly", json!({"name": "O\u{2019}Brien Associates"})),
            organization("louis", json!({"name": "St.  Louis\tHospital"})),
            organization("smith", json!({"name": "Smith-Jones, Inc."})),
            organization("marks", json!({"name": "100% Care_Now"})),
        ]);
        check(server, &[
            ("Organization?name=O'Brien", &["obrien", "curly"]),
            ("Organization?name=obrien", &["obrien", "curly"]),
            ("Organization?name=o%E2%80%99brien%20g", &["obrien"]),
            ("Organization?name=st%20louis", &["louis"]),
            ("Organization?name=St.+Louis+Hosp", &["louis"]),
            ("Organization?name=smith+jones", &["smith"]),
            ("Organization?name=Smith-Jones%5C,+Inc", &["smith"]),
            ("Organization?name=100%25", &["marks"]),
            ("Organization?name=100%25+Care_", &["marks"]),
            // These are wildcards elsewhere, not here.
            ("Organization?name=%25brien", &[]),
            ("Organization?name=o_brien", &[]),
        ]);
    }

    fn contains_finds_any_part_and_exact_the_whole_as_written(server) {
        load(server, &[
            organization("good", json!({"name": "Good Health"})),
            organization("lower", json!({"name": "good health"})),
            organization("accent", json!({"name": "Góod Health"})),
            organization("long", json!({"name": "Very Good Health Clinic", "alias": ["VGHC", "Good Health"]})),
        ]);
        check(server, &[
            ("Organization?name:contains=health", &["good", "lower", "accent", "long"]),
            ("Organization?name:contains=OOD+H", &["good", "lower", "accent", "long"]),
            ("Organization?name:contains=clin", &["long"]),
            ("Organization?name:contains=clin,VGH", &["long"]),
            ("Organization?name:contains=ghc", &["long"]),
            ("Organization?name:exact=Good+Health", &["good", "long"]),
            ("Organization?name:exact=good+health", &["lower"]),
            ("Organization?name:exact=G%C3%B3od+Health", &["accent"]),
            ("Organization?name:exact=Good", &[]),
            ("Organization?name:exact=Good+Health+", &[]),
            ("Organization?name:exact=good+health,VGHC", &["lower", "long"]),
        ]);
    }

    fn a_name_is_found_by_any_of_its_string_parts(server) {
        let jane = json!({"name": [{
            "use": "official", "text": "Dr. Jane Mary Smith-Jones MD", "family": "Smith-Jones", "given": ["Jane", "Mary"],
            "prefix": ["Dr."], "suffix": ["MD"], "period": {"start": "2001"},
        }, {"use": "maiden", "family": "de la Cruz"}]});
        load(server, &[resource("Practitioner", "jane", jane), resource("Practitioner", "mary", json!({"name": [{"family": "Mary"}]}))]);
        check(server, &[
            ("Practitioner?name=smith-jones", &["jane"]),
            ("Practitioner?name=mary", &["jane", "mary"]),
            ("Practitioner?name=dr", &["jane"]),
            ("Practitioner?name=md", &["jane"]),
            ("Practitioner?name=dr.+jane+mary", &["jane"]),
            ("Practitioner?name=official", &[]),
            ("Practitioner?name=2001", &[]),
            ("Practitioner?family=mary", &["mary"]),
            ("Practitioner?given=mary", &["jane"]),
            ("Practitioner?given=mary&given=jane", &["jane"]),
            ("Practitioner?family:contains=ith", &["jane"]),
        ]);
    }

    fn a_double_family_name_is_found_by_either_part_but_exactly_only_as_a_whole(server) {
        load(server, &[
            resource("Practitioner", "double", json!({"name": [{"family": "Smith-Jones"}]})),
            resource("Practitioner", "cruz", json!({"name": [{"family": "de la Cruz"}]})),
            resource("Practitioner", "jones", json!({"name": [{"family": "Jones"}]})),
        ]);
        check(server, &[
            ("Practitioner?family=smith", &["double"]),
            ("Practitioner?family=jones", &["double", "jones"]),
            ("Practitioner?family=cruz", &["cruz"]),
            ("Practitioner?family=la+cruz", &["cruz"]),
            ("Practitioner?name=jones", &["double", "jones"]),
            ("Practitioner?name=la+cruz", &["cruz"]),
            ("Practitioner?family:exact=Jones", &["jones"]),
            ("Practitioner?name:exact=Jones", &["jones"]),
            ("Practitioner?family:exact=Smith-Jones", &["double"]),
            ("Practitioner?family:exact=Cruz", &[]),
            ("Practitioner?family=ones", &[]),
        ]);
    }

    fn an_address_is_found_by_any_of_its_string_parts(server) {
        let address = json!({"address": {
            "use": "work", "type": "physical", "text": "Suite 5, behind the mill", "line": ["1 Mill Street", "Unit B"], "city": "Córdoba",
            "district": "Essex", "state": "MA", "postalCode": "01234-5678", "country": "USA",
        }});
        load(server, &[resource("Location", "mill", address), resource("Location", "other", json!({"address": {"city": "Essex"}}))]);
        check(server, &[
            ("Location?address=1+mill", &["mill"]),
            ("Location?address=unit", &["mill"]),
            ("Location?address=cordoba", &["mill"]),
            ("Location?address=essex", &["mill", "other"]),
            ("Location?address=ma", &["mill"]),
            ("Location?address=01234", &["mill"]),
            ("Location?address=usa", &["mill"]),
            ("Location?address=suite+5", &["mill"]),
            ("Location?address:contains=street", &["mill"]),
            ("Location?address=work", &[]),
            ("Location?address=physical", &[]),
            ("Location?address-city=essex", &["other"]),
            ("Location?address-state=ma", &["mill"]),
            ("Location?address-postalcode=01234", &["mill"]),
            ("Location?address-postalcode:exact=01234", &[]),
            ("Location?address-postalcode:exact=01234-5678", &["mill"]),
            ("Location?address-country=us", &["mill"]),
            ("Location?address-city:missing=true", &[]),
            ("Location?address-state:missing=true", &["other"]),
            ("Location?address-use=work", &["mill"]),
        ]);
    }

    fn a_comma_in_a_value_is_escaped_and_an_encoded_one_still_separates(server) {
        load(server, &[
            organization("comma", json!({"name": "Acme, Inc"})),
            organization("acme", json!({"name": "Acme"})),
            organization("inc", json!({"name": "Inc"})),
            organization("pipe", json!({"name": r"A|B$C\D"})),
        ]);
        check(server, &[
            (r"Organization?name:exact=Acme\,%20Inc", &["comma"]),
            ("Organization?name:exact=Acme,Inc", &["acme", "inc"]),
            ("Organization?name:exact=Acme%2CInc", &["acme", "inc"]),
            ("Organization?name:exact=Acme%5C%2C%20Inc", &["comma"]),
            ("Organization?name:exact=A%5C%7CB%5C%24C%5C%5CD", &["pipe"]),
        ]);
        refuse(server, &["Organization?name=a%5Cb", "Organization?name=a%5C"]);
    }

    fn a_phonetic_search_compares_sounds(server) {
        load(server, &[
            organization("robert", json!({"name": "Robert"})),
            organization("rupert", json!({"name": "Rupert"})),
            organization("rubin", json!({"name": "Rubin"})),
            resource("Practitioner", "smith", json!({"name": [{"family": "Smith"}]})),
            resource("Practitioner", "smyth", json!({"name": [{"family": "Smyth"}]})),
        ]);
        check(server, &[
            ("Organization?phonetic=robert", &["robert", "rupert"]),
            ("Organization?phonetic=Rubin", &["rubin"]),
            ("Practitioner?phonetic=smith", &["smith", "smyth"]),
        ]);
    }

    fn missing_tells_resources_with_a_value_from_those_without(server) {
        load(server, &[
            organization("named", json!({"name": "Acme"})),
            organization("alias", json!({"alias": ["Bolt"]})),
            organization("none", json!({"active": true})),
            organization("extension", json!({"active": true, "_name": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}})),
        ]);
        check(server, &[
            ("Organization?name:missing=true", &["none", "extension"]),
            ("Organization?name:missing=false", &["named", "alias"]),
            ("Organization?name=acme&name:missing=true", &[]),
            ("Organization?name=acme&name:missing=false", &["named"]),
        ]);
        refuse(server, &["Organization?name:missing=maybe", "Organization?name:missing=true,false"]);
    }

    fn modifiers_that_strings_do_not_have_are_refused(server) {
        refuse(server, &[
            "Organization?name:not=a", "Organization?name:text=a", "Organization?name:in=a", "Organization?name:above=a",
            "Organization?name:below=a", "Organization?name:identifier=a", "Organization?name:of-type=a|b|c", "Organization?name:Organization=a",
            "Organization?name:=a", "Organization?name:EXACTLY=a", "Organization?name:exact:contains=a",
        ]);
    }

    fn a_long_string_is_found_by_its_beginning(server) {
        let long = "lorem ipsum ".repeat(100);
        load(server, &[organization("long", json!({"name": long}))]);
        let whole = format!("Organization?name={}", long.trim().replace(' ', "%20"));
        check(server, &[("Organization?name=lorem+ipsum+lorem", &["long"]), (&whole, &["long"])]);
    }
}
