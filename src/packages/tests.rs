use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;

const MANIFEST_TEXT: &str = r#"{"name": "a.b", "version": "1.0.0-x", "fhirVersions": ["4.0.1"], "dependencies": {"hl7.fhir.r4.core": "4.0.1"}}"#;

/// Writes a name as it is: the builder of the tar crate would refuse the bad ones.
fn member(archive: &mut Vec<u8>, name: &str, kind: EntryType, text: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.extend(header.as_bytes());
    archive.extend(text);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

fn package(members: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    members.iter().for_each(|(name, text)| member(&mut archive, name, EntryType::Regular, text.as_bytes()));
    archive.resize(archive.len() + 1024, 0);
    gzip(&archive)
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.tgz");
    fs::write(&path, bytes).expect("a file");
    (folder, path)
}

fn read_bytes(bytes: &[u8]) -> Result<Package, PackageError> {
    let (_folder, path) = file(bytes);
    read(&path)
}

/// The sentence and its causes.
fn refusal(result: Result<Package, PackageError>) -> String {
    let error = result.expect_err("refused");
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[track_caller]
fn refused(bytes: &[u8], part: &str) {
    let sentence = refusal(read_bytes(bytes));
    assert!(sentence.contains("p.tgz") && sentence.contains(part), "{sentence}");
}

#[test]
fn a_package_gives_what_is_right_below_its_folder() {
    let set = |url: &str| json!({"resourceType": "ValueSet", "url": url}).to_string();
    let structure = |of: &str| {
        json!({"resourceType": "StructureDefinition", "url": of, "type": of, "derivation": "constraint"}).to_string()
    };
    let found = read_bytes(&package(&[
        ("package/package.json", MANIFEST_TEXT),
        ("./package/a.json", &set("a")),
        ("package/b.json", &format!("\u{feff}{}", set("b"))),
        ("package/c.json", &structure("Extension")),
        ("package/d.json", &structure("Location")),
        ("package/e.json", &structure("MolecularSequence")),
        ("package/.index.json", "{not even JSON"),
        ("package/list.json", "[1]"),
        ("package/guide.json", r#"{"resourceType": "ImplementationGuide"}"#),
        ("package/example/f.json", &set("f")),
        ("package/read.txt", "text"),
        ("other/g.json", &set("g")),
    ]))
    .expect("a package");
    assert_eq!(found.id(), "a.b#1.0.0-x");
    assert_eq!(found.urls().collect::<Vec<_>>(), ["a", "b", "Extension", "Location"]);
    assert_eq!(found.counts(), Counts { profiles: 1, extensions: 1, value_sets: 2, code_systems: 0 });
    assert_eq!(found.foreign, BTreeMap::from([("MolecularSequence".to_owned(), 1)]));
    assert_eq!(found.dependencies["hl7.fhir.r4.core"], "4.0.1");
}

#[test]
fn names_may_be_long() {
    let name = format!("package/{}.json", "x".repeat(200));
    let text = br#"{"resourceType": "ValueSet", "url": "a"}"#;
    let mut archive = Vec::new();
    member(&mut archive, "package/package.json", EntryType::Regular, MANIFEST_TEXT.as_bytes());
    member(&mut archive, "././@LongLink", EntryType::GNULongName, format!("{name}\0").as_bytes());
    member(&mut archive, "package/xxx", EntryType::Regular, text);
    let record = format!(" path={name}\n");
    let length = record.len() + 3;
    member(&mut archive, "PaxHeader", EntryType::XHeader, format!("{length}{record}").as_bytes());
    member(&mut archive, "package/xxx", EntryType::Regular, text);
    assert_eq!(read_bytes(&gzip(&archive)).expect("a package").resources.len(), 2);
}

#[test]
fn what_is_no_package_is_told_in_a_sentence() {
    let manifest = ("package/package.json", MANIFEST_TEXT);
    refused(b"hello", "not compressed with gzip");
    refused(b"", "not compressed with gzip");
    refused(&gzip(b"hello"), "no tar archive in it");
    refused(&gzip(&[b'x'; 2048]), "no tar archive in it");
    refused(&package(&[("package/a.json", "{}")]), "no package/package.json");
    refused(&package(&[("package/package.json", "{}")]), "package/package.json cannot be read: missing field `name`");
    refused(&package(&[manifest, ("package/a.json", "{\"resourceType\": \"ValueSet\",")]), "package/a.json is no JSON");
    let whole = package(&[manifest, ("package/a.json", "{}")]);
    refused(&whole[..whole.len() - 12], "is damaged");
    let elsewhere = |name: &str| json!({"name": name, "version": "1"}).to_string();
    refused(&package(&[("package/package.json", &elsewhere("../a"))]), "the name '../a'");
    let folder = tempfile::tempdir().expect("a folder");
    assert!(refusal(read(&folder.path().join("none.tgz"))).contains("none.tgz cannot be read: "));
    assert!(refusal(read(folder.path())).contains("cannot be read: "));
}

#[test]
fn only_packages_for_this_version_of_fhir_are_taken() {
    let stating = |versions: serde_json::Value| {
        let mut manifest = json!({"name": "a", "version": "1"});
        let members = manifest.as_object_mut().expect("an object");
        members.extend(versions.as_object().expect("an object").clone());
        read_bytes(&package(&[("package/package.json", &manifest.to_string())]))
    };
    assert!(stating(json!({})).is_ok());
    assert!(stating(json!({"fhirVersions": ["5.0.0", "4.0.1"]})).is_ok());
    assert!(stating(json!({"fhir-version-list": ["4.0.0"]})).is_ok());
    let sentence = refusal(stating(json!({"fhirVersions": ["3.0.2", "4.3.0"]})));
    assert!(sentence.ends_with("is made for FHIR 3.0.2, 4.3.0; this server speaks 4.0.1"), "{sentence}");
    assert!(stating(json!({"fhir-version-list": ["4.01"]})).is_err());
}

#[test]
fn what_leads_out_or_is_no_file_is_refused() {
    for name in ["package/../../etc/x.json", "/etc/x.json", "..\\x.json"] {
        refused(&package(&[("package/package.json", MANIFEST_TEXT), (name, "{}")]), "leads out of the package");
    }
    let mut archive = Vec::new();
    member(&mut archive, "package", EntryType::Directory, b"");
    member(&mut archive, "package/package.json", EntryType::Regular, MANIFEST_TEXT.as_bytes());
    assert!(read_bytes(&gzip(&archive)).is_ok(), "folders are nothing special");
    member(&mut archive, "package/a.json", EntryType::Symlink, b"");
    refused(&gzip(&archive), "package/a.json is neither a file nor a folder");
}

#[test]
fn what_is_too_big_is_refused_before_it_is_held_in_memory() {
    let bytes = package(&[("package/package.json", MANIFEST_TEXT), ("package/a.txt", &"x".repeat(5000))]);
    let (_folder, path) = file(&bytes);
    let within = |members, bytes, member_bytes| {
        read_within(open(&path).expect("a file"), &path, &Bounds { members, bytes, member_bytes, ..archive::BOUNDS })
    };
    assert!(within(2, 8192, 200).is_ok());
    assert!(refusal(within(1, 8192, 200)).contains("more than 1 members"));
    assert!(refusal(within(2, 4096, 200)).contains("larger than packages are"));
    assert!(refusal(within(2, 8192, 20)).contains("package/package.json is longer than 20 bytes"));
}

#[test]
fn packages_are_installed_together_or_not_at_all() {
    let data = tempfile::tempdir().expect("a folder");
    let candidate = |version: &str, text: &str| {
        let manifest = json!({"name": "a", "version": version, "description": text}).to_string();
        let (_keep, path) = file(&package(&[("package/package.json", &manifest)]));
        Candidate::check(data.path(), &path).expect("a package")
    };
    let folder = data.path().join("packages");
    install(vec![candidate("1", "old")]).expect("installed");
    let old = fs::read(folder.join("a#1.tgz")).expect("the file");
    let all = vec![candidate("1", "new"), candidate("2", "new"), candidate("3", "new")];
    fs::create_dir(folder.join("a#3.tgz")).expect("a folder that has the name");
    let error = install(all).expect_err("one cannot be put there");
    assert!(error.to_string().contains("a#3.tgz cannot be written"), "{error}");
    assert_eq!(fs::read(folder.join("a#1.tgz")).expect("the file"), old);
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 2, "the old one, and what was in the way");
}

#[test]
fn definitions_that_are_too_big_are_refused_before_they_are_read() {
    let set = json!({"resourceType": "ValueSet", "description": "x".repeat(1000)}).to_string();
    let other = json!({"resourceType": "Library", "description": "x".repeat(9000)}).to_string();
    let bytes = package(&[
        ("package/package.json", MANIFEST_TEXT),
        ("package/other.json", &other),
        ("package/a.json", &set),
        ("package/b.json", &set),
    ]);
    let (_folder, path) = file(&bytes);
    let within = |definition_bytes, kept_bytes| {
        read_within(open(&path).expect("a file"), &path, &Bounds { definition_bytes, kept_bytes, ..archive::BOUNDS })
    };
    assert!(within(1200, 2400).is_ok());
    assert!(refusal(within(900, 2400)).contains("package/a.json is a definition of more than 900 bytes"));
    assert!(
        refusal(within(1200, 1500)).contains("package/b.json makes its definitions longer than 1500 bytes together")
    );
}

#[test]
fn added_packages_are_found_by_their_names() {
    let data = tempfile::tempdir().expect("a folder");
    let at = |version: &str, url: &str| {
        let manifest = json!({"name": "a.b", "version": version}).to_string();
        let set = json!({"resourceType": "ValueSet", "url": url}).to_string();
        file(&package(&[("package/package.json", &manifest), ("package/a.json", &set)]))
    };
    let urls = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        load(data.path(), &names)
            .map(|all| all.iter().map(|it| it["url"].as_str().expect("url").to_owned()).collect::<Vec<_>>())
    };
    let add = |path: &Path| {
        let candidate = Candidate::check(data.path(), path).expect("a package");
        // What happens to the file now makes no difference: the bytes that were checked are those that are added.
        fs::write(path, "no archive").expect("written");
        install(vec![candidate]).expect("added").iter().map(Package::id).collect::<String>()
    };
    let sentence = urls(&["a.b#1.0"]).expect_err("nothing is there").to_string();
    assert_eq!(
        sentence,
        "the package a.b#1.0 is not installed (none is); get it with 'npm pack a.b@1.0' and add the file with 'plumbline package add'"
    );

    let (_keep, first) = at("1.0", "first");
    assert_eq!(add(&first), "a.b#1.0");
    assert_eq!(urls(&["a.b"]).expect("loaded"), ["first"]);
    let (_keep, second) = at("2.0", "second");
    add(&second);
    assert!(urls(&["a.b"]).expect_err("ambiguous").to_string().contains("(a.b#1.0, a.b#2.0); say which one"));
    assert!(urls(&["a.b#3.0"]).expect_err("missing").to_string().contains("(installed: a.b#1.0, a.b#2.0)"));
    let (_keep, beside) = at("1.0", "beside");
    assert_eq!(urls(&["a.b#2.0", &beside.to_string_lossy()]).expect("loaded"), ["second", "beside"]);

    let (_keep, again) = at("1.0", "mended");
    add(&again);
    assert_eq!(urls(&["a.b#1.0"]).expect("loaded"), ["mended"]);
    let names: Vec<String> = installed(data.path()).expect("listed").iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.b#1.0", "a.b#2.0"]);
    assert_eq!(fs::read_dir(data.path().join("packages")).expect("the folder").count(), 2, "no draft is left");

    let (_keep, dropped) = at("3.0", "dropped");
    drop(Candidate::check(data.path(), &dropped).expect("a package"));
    assert_eq!(fs::read_dir(data.path().join("packages")).expect("the folder").count(), 2, "nor one that was not used");

    assert!(remove(data.path(), "a.b#1.0").expect("removed"));
    assert!(!remove(data.path(), "a.b#1.0").expect("nothing to remove"));
    assert_eq!(urls(&["a.b"]).expect("loaded"), ["second"]);
}
