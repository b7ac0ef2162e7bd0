use serde_json::json;

use super::read::SCHEMA_INSTANCE;
use super::*;
use crate::fhir::error::Kind as Refusal;

fn read(inside: &str) -> Result<Value, FhirError> {
    from_xml(format!("<Practitioner xmlns=\"{FHIR}\">{inside}</Practitioner>").as_bytes())
}

#[track_caller]
fn refused(xml: &str, because: &str) {
    let error = from_xml(xml.as_bytes()).unwrap_err();
    assert_eq!(error.kind, Refusal::Malformed);
    assert!(error.to_string().contains(because), "{error}");
}

#[track_caller]
fn refused_inside(inside: &str, because: &str) {
    refused(&format!("<Practitioner xmlns=\"{FHIR}\">{inside}</Practitioner>"), because);
}

#[track_caller]
fn round_trip(resource: Value) -> String {
    let xml = to_xml(&resource).unwrap();
    assert_eq!(from_xml(xml.as_bytes()).unwrap(), resource, "{xml}");
    xml
}

#[test]
fn types_come_from_the_path() {
    let xml = round_trip(json!({
        "name": [{"given": ["Jo"], "family": "Smith"}],
        "resourceType": "Practitioner",
        "active": true,
        "telecom": [{"system": "phone", "value": "1", "rank": 2}],
    }));
    // In the order of the specification, whatever the order of the JSON.
    assert_eq!(
        xml,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Practitioner xmlns=\"http://hl7.org/fhir\"><active value=\"true\"/>\
         <name><family value=\"Smith\"/><given value=\"Jo\"/></name>\
         <telecom><system value=\"phone\"/><value value=\"1\"/><rank value=\"2\"/></telecom></Practitioner>"
    );
}

#[test]
fn decimals_keep_their_digits() {
    let text = r#"{"resourceType":"Location","position":{"longitude":-72.690,"latitude":1.10}}"#;
    let location: Value = serde_json::from_str(text).unwrap();
    let xml = round_trip(location);
    assert!(xml.contains("<latitude value=\"1.10\"/>"), "{xml}");
    assert_eq!(from_xml(xml.as_bytes()).unwrap().to_string(), text);
}

#[test]
fn ids_and_extensions_of_simple_values() {
    let extension = json!([{"url": "http://example.org/e", "valueBoolean": false}]);
    let xml = round_trip(json!({
        "resourceType": "Practitioner",
        "id": "a",
        "_id": {"extension": extension},
        "active": true,
        "_active": {"id": "b1"},
        "name": [{
            "id": "n1",
            "given": ["A", null, "C"],
            "_given": [null, {"extension": extension}, {"id": "g3", "extension": extension}],
        }],
        "_birthDate": {"extension": extension},
    }));
    assert!(xml.contains("<active id=\"b1\" value=\"true\"/>"), "{xml}");
    assert!(xml.contains("<given><extension url=\"http://example.org/e\"><valueBoolean value=\"false\"/>"), "{xml}");
}

#[test]
fn narratives_are_left_alone() {
    let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\">\n a <b>b</b> c&#160;&lt;d&gt; \
               <br/><img src='x' alt=\"y\" /><!-- z --><div>\n  </div></div>";
    round_trip(json!({"resourceType": "Practitioner", "text": {"status": "generated", "div": div}}));

    let prefixed = format!(
        "<f:Practitioner xmlns:f=\"{FHIR}\" xmlns:h=\"{XHTML}\"><f:text><f:status value=\"generated\"/>\
         <h:div><h:p class=\"q\">a\r\nb</h:p></h:div></f:text></f:Practitioner>"
    );
    assert_eq!(
        from_xml(prefixed.as_bytes()).unwrap()["text"]["div"],
        "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p class=\"q\">a\nb</p></div>"
    );
}

#[test]
fn narratives_cannot_break_out() {
    for (div, carried) in [
        ("<div>no namespace</div>", "<div xmlns=\"http://www.w3.org/1999/xhtml\">no namespace</div>"),
        ("<div>a&nbsp;b</div>", "<div xmlns=\"http://www.w3.org/1999/xhtml\">a&#160;b</div>"),
        ("<div></div></text><id value=\"x\"/><text>", "&lt;div&gt;&lt;/div&gt;&lt;/text&gt;"),
        ("<div><p></div>", "&lt;div&gt;&lt;p&gt;&lt;/div&gt;"),
        ("<!DOCTYPE a><div/>", "&lt;!DOCTYPE a&gt;"),
        ("<div>&e;</div>", "&lt;div&gt;&amp;e;&lt;/div&gt;"),
        ("", "<div xmlns=\"http://www.w3.org/1999/xhtml\"></div>"),
    ] {
        let xml = to_xml(&json!({"resourceType": "Basic", "text": {"div": div}})).unwrap();
        assert!(xml.contains(carried), "{xml}");
        from_xml(xml.as_bytes()).unwrap();
    }
    to_xml(&json!({"resourceType": "Basic", "text": {"_div": {"id": "x"}, "status": "empty"}})).unwrap();
}

#[test]
fn resources_in_resources() {
    // The type is not first, and the orders differ, on each level.
    let practitioner = json!({"id": "p", "active": true, "resourceType": "Practitioner"});
    let organization = json!({"name": "o", "contained": [practitioner, {"resourceType": "Basic"}],
        "resourceType": "Organization", "id": "o"});
    round_trip(json!({
        "type": "searchset",
        "total": 1,
        "link": [{"relation": "self", "url": "http://localhost/?a=1&b=<"}],
        "resourceType": "Bundle",
        "entry": [
            {"resource": organization, "fullUrl": "urn:x", "search": {"mode": "match", "score": 0.50}},
            {"request": {"method": "DELETE", "url": "A/1"}, "response": {"status": "400", "outcome": {
                "issue": [{"severity": "error", "code": "invalid"}], "resourceType": "OperationOutcome"}}},
        ],
    }));
    round_trip(json!({
        "resourceType": "Parameters",
        "parameter": [
            {"name": "a", "valueDecimal": 1.0},
            {"name": "b", "resource": {"resourceType": "Bundle", "type": "batch"}},
            {"name": "c", "part": [{"name": "d", "part": [{"name": "e", "valueUnsignedInt": 0}]}]},
        ],
    }));
}

#[test]
fn our_own_answers() {
    round_trip(json!({
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "value", "diagnostics": "a\nb\t\"c\" & 'd'", "expression": ["x"]}],
    }));
    round_trip(json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "url": "http://localhost/fhir/metadata",
        "fhirVersion": "4.0.1",
        "format": ["json", "xml"],
        "rest": [{
            "mode": "server",
            "security": {"cors": true},
            "resource": [{
                "type": "Practitioner",
                "interaction": [{"code": "read"}],
                "versioning": "versioned",
                "readHistory": true,
                "searchParam": [{"name": "name", "type": "string"}],
                "operation": [{"name": "validate", "definition": "http://localhost/v"}],
            }],
            "searchParam": [{"name": "_id", "type": "token"}],
            "operation": [{"name": "export", "definition": "http://localhost/e"}],
        }],
    }));
}

#[test]
fn a_resource_type_that_is_an_element() {
    round_trip(json!({
        "resourceType": "ExampleScenario",
        "status": "draft",
        "instance": [{"resourceId": "a", "resourceType": "Patient", "name": "n"}],
    }));
}

#[test]
fn nothing_to_expand_and_nothing_to_fetch() {
    let body = format!("<Practitioner xmlns=\"{FHIR}\"/>");
    for prolog in [
        "<!DOCTYPE Practitioner>",
        "<!DOCTYPE lolz [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>",
        "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">",
        "<?xml version=\"1.0\"?>\n<!doctype x>",
    ] {
        refused(&format!("{prolog}{body}"), "document types");
    }
    refused_inside("<id value=\"&xxe;\"/>", "entity '&xxe;'");
    refused_inside("<text><div xmlns=\"http://www.w3.org/1999/xhtml\">&nbsp;</div></text>", "entity '&nbsp;'");
    refused_inside("<id><![CDATA[x]]></id>", "CDATA");
    let deep = "<extension url=\"u\">".repeat(100_000);
    refused_inside(&deep, "64 levels");
    let deep = format!("<text><div xmlns=\"{XHTML}\">{}", "<p>".repeat(100_000));
    refused_inside(&deep, "64 levels");
    let wide = (0..40).fold(String::new(), |wide, n| wide + &format!(" xmlns:a{n}=\"u\""));
    refused_inside(&format!("<name{wide}/>"), "attributes");
}

#[test]
fn characters_and_encodings() {
    assert!(from_xml(b"<Practitioner xmlns=\"http://hl7.org/fhir\"><id value=\"\xff\"/></Practitioner>").is_err());
    assert!(from_xml("<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice()).is_err());
    refused("<?xml version=\"1.1\"?><a/>", "XML 1.0");
    refused("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>", "UTF-8");
    refused_inside("<id value=\"&#0;\"/>", "not a character");
    refused_inside("<id value=\"&#xD800;\"/>", "not a character");
    refused_inside("<id value=\"&#+65;\"/>", "not a character");
    refused_inside("<id value=\"\u{1}\"/>", "U+0001");

    let with_all = format!(
        "\u{feff}<?xml version='1.0' encoding='utf-8' standalone=\"yes\"?>\n<?xml-stylesheet href='a'?><!-- c -->\
         <Practitioner xmlns=\"{FHIR}\" xmlns:xsi=\"{SCHEMA_INSTANCE}\" xsi:schemaLocation=\"a b\">\n\
         <birthDate value=\"a&#x41;&lt;&#10;é\n\" ></birthDate><!-- d --></Practitioner>\n"
    );
    assert_eq!(from_xml(with_all.as_bytes()).unwrap()["birthDate"], "aA<\né ");
    let xml = to_xml(&json!({"resourceType": "Basic", "id": "a\u{0}\nb"})).unwrap();
    assert!(xml.contains("<id value=\"a\u{fffd}&#10;b\"/>"), "{xml}");
}

#[test]
fn what_is_not_xml() {
    for (xml, because) in [
        ("", "no element"),
        ("{}", "does not begin"),
        ("<", "name is malformed"),
        ("<a", "malformed"),
        ("<a b>", "no value"),
        ("<a b=c/>", "not in quotes"),
        ("<a b='1'c='2'/>", "malformed"),
        ("<a b='1' b='2'/>", "twice"),
        ("<a b='<'/>", "'<'"),
        ("<a / >", "malformed"),
        ("<!-- ", "not closed"),
        ("<!-- -- --><a/>", "'--'"),
        ("<?xml version='1.0'", "not closed"),
        (" <?xml version='1.0'?><a/>", "first"),
        ("<x:a/>", "not declared"),
        ("</a>", "does not begin"),
    ] {
        refused(xml, because);
    }
    refused_inside("<active value=\"true\">", "closed by");
    refused_inside("<name></given>", "closed by");
    refused(&format!("<Practitioner xmlns=\"{FHIR}\"><name>"), "not closed");
    refused(&format!("<Practitioner xmlns=\"{FHIR}\"/><Practitioner/>"), "follows");
}

#[test]
fn what_is_not_fhir() {
    refused("<Practitioner><active value=\"true\"/></Practitioner>", "namespace http://hl7.org/fhir");
    refused("<Practitioner xmlns=\"http://example.org\"/>", "namespace http://hl7.org/fhir");
    refused(&format!("<Nonsense xmlns=\"{FHIR}\"/>"), "not a resource type");
    refused(&format!("<HumanName xmlns=\"{FHIR}\"/>"), "not a resource type");
    refused(&format!("<Practitioner xmlns=\"{FHIR}\" id=\"x\"/>"), "no attributes");
    for (inside, because) in [
        ("<nonsense value=\"1\"/>", "no element 'nonsense'"),
        ("<name><Practitioner/></name>", "no element 'Practitioner'"),
        ("<_id value=\"1\"/>", "no element"),
        ("<name><given value=\"a\"/></name><name.given value=\"1\"/>", "no element"),
        ("<active/>", "empty"),
        ("<active value=\"\"/>", "empty"),
        ("<name id=\"1\"/>", "empty"),
        ("<active value=\"yes\"/>", "not a boolean"),
        ("<active value=\"true\" url=\"u\"/>", "'url'"),
        ("<active value=\"true\" lang=\"u\"/>", "'lang'"),
        ("<active><value value=\"true\"/></active>", "but extensions"),
        ("<active value=\"true\"/><active value=\"true\"/>", "does not repeat"),
        ("<identifier value=\"1\"/>", "simple value"),
        ("<identifier><id value=\"1\"/></identifier>", "an attribute here"),
        ("<extension><valueCode value=\"a\"/></extension>", "'url'"),
        ("<extension url=\"u\"><url value=\"a\"/></extension>", "an attribute here"),
        ("<telecom><rank value=\"1.5\"/></telecom>", "not an integer"),
        ("<telecom><rank value=\"99999999999\"/></telecom>", "not an integer"),
        ("<extension url=\"u\"><valueDecimal value=\"1,5\"/></extension>", "not a decimal"),
        ("<active value=\"true\">x</active>", "text stands outside"),
        ("<contained/>", "no resource"),
        ("<contained><Basic/><Basic/></contained>", "more than one"),
        ("<contained id=\"a\"><Basic/></contained>", "no attributes"),
        ("<contained><Address/></contained>", "not a resource type"),
        ("<resourceType value=\"x\"/>", "name of the resource"),
        ("<text><div>x</div></text>", "namespace http://www.w3.org/1999/xhtml"),
        ("<text><div xmlns=\"http://www.w3.org/1999/xhtml\"><p>x</div></text>", "closed by"),
    ] {
        refused_inside(inside, because);
    }
}

#[test]
fn a_fault_has_a_line_and_a_place() {
    let error =
        read("\n<contained><Location><name value=\"x\"/>\n<mode value=\" \"/></Location></contained>").unwrap_err();
    assert_eq!(error.to_string(), "The XML cannot be read: the attribute 'value' is empty (line 3). (Location.mode)");
}

#[test]
fn an_empty_contained_resource_ends_there() {
    let resource = read("<contained><Basic/></contained><active value=\"true\"/>").unwrap();
    assert_eq!(resource["contained"], json!([{"resourceType": "Basic"}]));
    assert_eq!(resource["active"], true);
}

#[test]
fn what_cannot_be_written() {
    for resource in [json!([]), json!({"id": "x"}), json!({"resourceType": "Basic", "a b><c": 1})] {
        assert_eq!(to_xml(&resource).unwrap_err().kind, Refusal::NotAcceptable);
    }
    assert!(to_xml(&json!({"resourceType": "Basic", "identifier": [["x"]]})).is_err());
    let mut deep = json!({"url": "u"});
    for _ in 0..200 {
        deep = json!({"url": "u", "extension": [deep]});
    }
    assert!(to_xml(&json!({"resourceType": "Basic", "extension": [deep]})).is_err());
    // What R4 does not know is shown, last; what is empty is not.
    let xml = to_xml(&json!({"resourceType": "Basic", "mine": "x", "id": "y", "name": [], "code": null})).unwrap();
    assert!(xml.ends_with("<id value=\"y\"/><mine value=\"x\"/></Basic>"), "{xml}");
}

#[test]
fn the_deepest_document_fits_a_small_stack() {
    let body = format!(
        "<Basic xmlns=\"{FHIR}\">{}<valueCode value=\"x\"/>{}</Basic>",
        "<extension url=\"u\">".repeat(MAX_DEPTH - 2),
        "</extension>".repeat(MAX_DEPTH - 2)
    );
    let reader = std::thread::Builder::new().stack_size(1 << 20);
    let read = reader.spawn(move || to_xml(&from_xml(body.as_bytes()).unwrap()).unwrap()).unwrap().join();
    assert!(read.is_ok());
}
