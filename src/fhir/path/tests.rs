use serde_json::{Value, json};

use super::{EvalError, Item, Node, Path};

fn practitioner() -> Value {
    json!({
        "resourceType": "Practitioner",
        "id": "p1",
        "active": true,
        "name": [
            {"use": "official", "family": "Chalmers", "given": ["Peter", null, "James"],
             "_given": [null, {"extension": [{"url": "http://x/absent", "valueCode": "unknown"}]}, null],
             "_family": {"extension": [{"url": "http://x/own-name", "valueString": "Chal"}]}},
            {"use": "usual", "given": ["Jim"], "period": {"start": "2001", "end": "2002-05"}},
        ],
        "extension": [
            {"url": "http://x/period", "valuePeriod": {"start": "2020-01-01"}},
            {"url": "http://x/score", "valueDecimal": 1.50},
            {"url": "http://x/date", "valueDateTime": "2020-01-01T10:00:00+01:00"},
        ],
        "telecom": [{"system": "phone", "value": "1", "period": {"end": "2020-02"}}, {"system": "email", "value": "a@b"}],
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
        "qualification": [
            {"code": {"text": "MD"}, "issuer": {"reference": "Organization/o1"}},
            {"code": {"text": "RN"}, "issuer": {"reference": "https://x/fhir/Practitioner/7"}},
            {"code": {"text": "PA"}, "issuer": {"reference": "#o2"}},
            {"code": {"text": "DO"}, "issuer": {"type": "Organization", "identifier": {"value": "9"}}},
        ],
        "contained": [{"resourceType": "Organization", "id": "o2", "name": "Inner"}],
        "_birthDate": {"extension": [{"url": "http://x/absent", "valueCode": "masked"}]},
        "statusReason": "none",
    })
}

fn plain(node: &Node) -> Value {
    match &node.item {
        Item::Element(value) => (*value).clone(),
        Item::Target(name) => json!({ "target": name }),
        Item::Boolean(flag) => json!(flag),
        Item::Number(number) => serde_json::from_str(&number.to_string()).unwrap(),
        Item::Text(text) | Item::Temporal(text) => json!(&**text),
    }
}

/// Each expression yields these values on the practitioner.
fn check(cases: &[(&str, Value)]) {
    let resource = practitioner();
    for (source, want) in cases {
        let path = Path::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let got: Vec<Value> = path.try_evaluate(&resource).unwrap().iter().map(plain).collect();
        assert_eq!(&Value::Array(got), want, "{source}");
    }
}

#[test]
fn paths() {
    check(&[
        ("Practitioner.name.family", json!(["Chalmers"])),
        ("name.given", json!(["Peter", null, "James", "Jim"])),
        ("Resource.id | DomainResource.id | PractitionerRole.id", json!(["p1"])),
        ("PractitionerRole.name", json!([])),
        ("name[1].given", json!(["Jim"])),
        ("name[2].given", json!([])),
        ("name.where(use = 'usual').given.first()", json!(["Jim"])),
        ("name.given.last() | name.given.tail().first()", json!(["Jim", null])),
        ("`id`", json!(["p1"])),
        ("name.select(use & '-' & given.first())", json!(["official-Peter", "usual-Jim"])),
        ("name.select($index)", json!([0, 1])),
        ("name.where($index = 1).use", json!(["usual"])),
        ("%resource.id | %context.id | %rootResource.active", json!(["p1", true])),
        ("contained.name", json!(["Inner"])),
        ("status", json!([])),
        ("id.name", json!([])),
        ("telecom.where(system = 'email' and value.exists()).value", json!(["a@b"])),
        ("repeat(qualification | code).text", json!(["MD", "RN", "PA", "DO"])),
        ("name.skip(1).use | name.take(1).use", json!(["usual", "official"])),
    ]);
}

#[test]
fn choices_and_types() {
    check(&[
        ("extension.where(url='http://x/period').value", json!([{"start": "2020-01-01"}])),
        ("(Practitioner.extension.value as Period).start", json!(["2020-01-01"])),
        ("extension('http://x/score').value.ofType(decimal)", json!([1.50])),
        ("extension.value.as(dateTime)", json!(["2020-01-01T10:00:00+01:00"])),
        ("extension.value.ofType(FHIR.Quantity)", json!([])),
        ("extension('http://x/score').value is decimal", json!([true])),
        ("extension('http://x/score').value is Quantity", json!([false])),
        ("contained.ofType(Organization).id", json!(["o2"])),
        ("qualification.issuer.where(resolve() is Organization).reference", json!(["Organization/o1", "#o2"])),
        ("qualification.where(issuer.resolve() is Practitioner).code.text", json!(["RN"])),
        ("qualification.issuer.where(resolve() is Organization).count()", json!([3])),
        ("qualification.issuer.resolve().name", json!(["Inner"])),
        ("name.first().is(HumanName) and name.first().is(Address).not()", json!([true])),
        ("$this is Practitioner and $this is DomainResource and ($this is Bundle).not()", json!([true])),
        ("id is boolean", json!([false])),
        ("1 is integer and 1.5 is decimal and 'a' is string and @2020 is date and true is boolean", json!([true])),
    ]);
}

#[test]
fn primitives_keep_their_extensions() {
    check(&[
        ("name.family.extension.value", json!(["Chal"])),
        ("name.given.extension('http://x/absent').value", json!(["unknown"])),
        ("birthDate.extension.value", json!(["masked"])),
        ("birthDate.exists() and birthDate.hasValue().not()", json!([true])),
        ("name.family.hasValue()", json!([true])),
        ("name.family.getValue().extension", json!([])),
        ("name[0].children().count()", json!([5])),
        ("descendants().where($this = 'masked').count()", json!([1])),
    ]);
}

#[test]
fn operators() {
    check(&[
        ("{} and false", json!([false])),
        ("{} and true", json!([])),
        ("{} or true", json!([true])),
        ("{} or false", json!([])),
        ("{} implies true", json!([true])),
        ("{} implies false", json!([])),
        ("false implies {}", json!([true])),
        ("true xor {}", json!([])),
        ("true xor false", json!([true])),
        ("{}.not()", json!([])),
        ("{} = 1", json!([])),
        ("name.use = ('official' | 'usual')", json!([true])),
        ("name.use = 'official'", json!([false])),
        ("name.use ~ ('usual' | 'official')", json!([true])),
        ("'Ab  C' ~ 'ab c' and 'a' !~ 'b' and 'a' != 'b'", json!([true])),
        ("{} ~ {}", json!([true])),
        ("'usual' in name.use and name.use contains 'official'", json!([true])),
        ("1 + 2 * 3 - 4 / 8", json!([6.5])),
        ("-7 div 2 + 7 mod 4", json!([0])),
        ("0.1 + 0.2 = 0.3 and 1.50 = extension.value.ofType(decimal)", json!([true])),
        ("'a' + 'b' & {} & 'c'", json!(["abc"])),
        ("1 / 0", json!([])),
        ("2 > 1 and 'a' < 'b' and 1 <= 1 and 10 >= 9", json!([true])),
        ("name.period.start <= name.period.end", json!([true])),
        ("telecom.period.end > @2020-02-28", json!([])),
        ("extension.value.as(dateTime) = @2020-01-01T09:00:00Z", json!([true])),
        ("@2020 = @2020-01", json!([])),
        ("name.given | name.given", json!(["Peter", null, "James", "Jim"])),
        ("true or false and false", json!([true])),
    ]);
}

#[test]
fn functions() {
    check(&[
        ("name.exists(use = 'old') or name.empty()", json!([false])),
        ("name.all(given.exists()) and {}.all(false)", json!([true])),
        ("name.use.isDistinct() and (name | name).count() = 2", json!([true])),
        ("name.use.combine(name.use).distinct().count()", json!([2])),
        ("name.use.intersect('usual' | 'old')", json!(["usual"])),
        ("name.use.exclude('usual')", json!(["official"])),
        ("name.use.subsetOf('usual' | 'official' | 'old') and name.use.supersetOf('usual')", json!([true])),
        ("name.use.union('usual')", json!(["official", "usual"])),
        ("iif(active, 'on', 'off')", json!(["on"])),
        ("{}.iif(empty(), 'none')", json!(["none"])),
        ("'Grüße'.length()", json!([5])),
        ("'Grüße'.substring(2, 2) & 'abc'.substring(1)", json!(["üßbc"])),
        ("'abc'.substring(3) | 'abc'.substring(-1)", json!([])),
        ("'Grüße'.indexOf('ß') | 'a'.indexOf('b')", json!([3, -1])),
        ("' A b '.trim().upper() & 'X'.lower()", json!(["A Bx"])),
        ("'abc'.startsWith('ab') and 'abc'.endsWith('bc') and 'abc'.contains('b')", json!([true])),
        ("identifier.all(value.matches('^[0-9]{10}$'))", json!([true])),
        ("'12'.toInteger() + 1.toString().toInteger()", json!([13])),
        ("'1.5'.toInteger() | 'x'.toInteger()", json!([])),
        ("(true | false).anyTrue() and (true | false).allTrue().not()", json!([true])),
        ("name.given.trace('given', length()).first()", json!(["Peter"])),
        ("active.toString()", json!(["true"])),
    ]);
}

#[test]
fn luhn_check_of_an_npi() {
    // The shape of us-core-17: digits doubled and summed.
    let source = "identifier.all((value.substring(0,1).toInteger() * 2) + value.substring(9,1).toInteger() = 5)";
    check(&[(source, json!([true]))]);
}

#[test]
fn refusals_name_their_reason() {
    let check = |source: &str, position: usize, message: &str| {
        let error = Path::parse(source).err().unwrap_or_else(|| panic!("{source} parsed"));
        assert!(error.message.contains(message), "{source}: {error}");
        assert_eq!(error.position, position, "{source}: {error}");
    };
    check("code.memberOf('http://x')", 5, "'memberOf()' is not supported");
    check("conformsTo('http://x')", 0, "'conformsTo()' is not supported");
    check("a.magic()", 2, "'magic()' is not supported");
    check("now()", 0, "'now()' is not supported");
    check("a.where()", 2, "'where()' does not take 0 arguments");
    check("a.matches(b)", 2, "constant pattern");
    check("a.matches('(?=x)')", 2, "not supported");
    check("%other", 0, "'%other'");
    check("$total", 0, "'$total'");
    check("a.", 2, "a name is expected");
    check("(a", 2, "')' is expected");
    check("a b", 2, "the end");
    check("", 0, "is expected");
    check("4 days", 2, "the end");
    check("@20x", 0, "no date");
    check(&"(".repeat(100), 49, "nested too deeply");
    check(&format!("1{}", "+1".repeat(300)), 513, "too many operators");
}

#[test]
fn failures_are_no_results() {
    let resource = practitioner();
    let check = |source: &str, want: EvalError| {
        assert_eq!(Path::parse(source).unwrap().try_evaluate(&resource).err(), Some(want), "{source}");
    };
    check("name.use and true", EvalError::NotSingle);
    check("name.given.length() = 1", EvalError::NotSingle);
    check("name.where(given)", EvalError::NotSingle);
    check("(1).repeat($this + 1)", EvalError::TooCostly);
    check(&format!("'0123456789'{}", ".select($this & $this)".repeat(80)), EvalError::TooCostly);
    check(&format!("descendants(){}", ".select(%resource.descendants())".repeat(4)), EvalError::TooCostly);
    let odd = json!({"a": [[1, [2]], null, {}], "_b": [null, 3], "": 1, "resourceType": 4});
    for source in ["a.b", "descendants().count()", "b.exists()", "Resource.a", "a.children() | a"] {
        assert!(Path::parse(source).unwrap().try_evaluate(&odd).is_ok(), "{source}");
    }
}

#[test]
fn constraints_hold_on_an_element() {
    let resource = practitioner();
    let name = Node::element(&resource["name"][1]);
    let check = |source: &str, want: Result<bool, EvalError>| {
        assert_eq!(Path::parse(source).unwrap().holds(&name, &resource, &resource), want, "{source}");
    };
    check("use = 'usual' and %resource.active", Ok(true));
    check("%context.family", Ok(false));
    check("period.start", Ok(true));
    check("family = 'x'", Ok(false));
    check("given | use", Err(EvalError::NotSingle));
}
