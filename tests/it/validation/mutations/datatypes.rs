//! The children of the R4 datatypes, for the places where a profile snapshot does not list them.

/// `name=type`, then `+` for min 1, `*` for a repeating element, `!` for a required binding, `>Type` for a target.
const TABLE: [(&str, &str); 14] = [
    ("Extension", "id=string extension=Extension* url=uri+ value[x]=*"),
    ("Meta", "versionId=id lastUpdated=instant source=uri profile=canonical* security=Coding* tag=Coding*"),
    ("Narrative", "status=code+! div=xhtml+"),
    (
        "Identifier",
        "use=code! type=CodeableConcept system=uri value=string period=Period assigner=Reference>Organization",
    ),
    ("CodeableConcept", "coding=Coding* text=string"),
    ("Coding", "system=uri version=string code=code display=string userSelected=boolean"),
    ("Reference", "reference=string type=uri identifier=Identifier display=string"),
    ("ContactPoint", "system=code! value=string use=code! rank=positiveInt period=Period"),
    (
        "Address",
        "use=code! type=code! text=string line=string* city=string district=string state=string postalCode=string \
         country=string period=Period",
    ),
    ("HumanName", "use=code! text=string family=string given=string* prefix=string* suffix=string* period=Period"),
    ("Period", "start=dateTime end=dateTime"),
    (
        "Attachment",
        "contentType=code! language=code data=base64Binary url=url size=unsignedInt hash=base64Binary title=string \
         creation=dateTime",
    ),
    ("Quantity", "value=decimal comparator=code! unit=string system=uri code=code"),
    ("Money", "value=decimal currency=code!"),
];

pub struct Child {
    pub name: &'static str,
    /// None for a choice of every type (the value of an extension).
    pub kind: Option<&'static str>,
    pub required: bool,
    pub repeats: bool,
    pub bound: bool,
    pub target: Option<&'static str>,
}

pub fn children(datatype: &str) -> Vec<Child> {
    let listed = TABLE.iter().find(|(name, _)| *name == datatype).map_or("", |(_, children)| *children);
    let own = if datatype == "Extension" { "" } else { "id=string extension=Extension*" };
    // A type without a row is a primitive, or one that the examples do not use.
    if listed.is_empty() {
        return Vec::new();
    }
    own.split_whitespace().chain(listed.split_whitespace()).map(child).collect()
}

fn child(entry: &'static str) -> Child {
    let (name, rest) = entry.split_once('=').expect("name=type");
    let (rest, target) = rest.split_once('>').map_or((rest, None), |(rest, target)| (rest, Some(target)));
    let kind = rest.trim_end_matches(['+', '*', '!']);
    let marks = &rest[kind.len()..];
    Child {
        name,
        kind: (!kind.is_empty()).then_some(kind),
        required: marks.contains('+'),
        repeats: marks.contains('*') && !kind.is_empty(),
        bound: marks.contains('!'),
        target,
    }
}
