"""Parses every kind of answer of the server with the strict models of fhir.resources (R4B, which is R4 for all that is
used here; the package has no models of R4 itself): a CapabilityStatement, a transaction-response, a read, an old version
and a search page of each type of the directory, histories, refusals.

Usage: fhir_resources_parse.py BASE_URL, with an access token in ACCESS_TOKEN
"""

import os
import random
import sys
import uuid

import requests
from fhir.resources.R4B import get_fhir_model_class

PLAN_NET = "http://hl7.org/fhir/us/davinci-pdex-plan-net"
JSON = "application/fhir+json"
MANY = 50
PAGE = 7


def step(text):
    print(f"fhir.resources: {text}", flush=True)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def concept(system, code):
    system = system if ":" in system else f"{PLAN_NET}/CodeSystem/{system}"
    return {"coding": [{"system": system, "code": code}]}


def directory(name):
    """One valid resource of each type, by its own name, referring to each other by the full URLs of the transaction."""
    urls = {}

    def ref(of):
        return {"reference": urls.setdefault(of, f"urn:uuid:{uuid.uuid4()}")}

    address = {"line": ["123 Main Street"], "city": "Hartford", "state": "CT", "postalCode": "06103"}
    phone = [{"system": "phone", "value": "860-555-0100", "rank": 1}]
    nucc = "http://nucc.org/provider-taxonomy"
    hours = [{"daysOfWeek": ["mon", "tue"], "openingTime": "08:00:00", "closingTime": "17:00:00"}]
    resources = {
        "Organization": {
            "active": True, "type": [concept("OrgTypeCS", "payer")], "name": f"{name} Payer",
            "telecom": phone, "address": [address],
        },
        "Network": {
            "active": True, "type": [concept("OrgTypeCS", "ntwk")], "name": f"{name} Network",
            "partOf": ref("Organization"),
        },
        "Endpoint": {
            "status": "active", "name": f"{name} Endpoint", "managingOrganization": ref("Organization"),
            "connectionType": concept("EndpointConnectionTypeCS", "rest-non-fhir")["coding"][0],
            "payloadType": [concept("EndpointPayloadTypeCS", "NA")], "address": "https://directory.example.org/fhir",
        },
        "Location": {
            "status": "active", "name": f"{name} Location", "telecom": phone, "address": address,
            "position": {"longitude": -72.690, "latitude": 41.76}, "managingOrganization": ref("Organization"),
            "hoursOfOperation": hours,
        },
        "HealthcareService": {
            "active": True, "name": f"{name} Service", "category": [concept("HealthcareServiceCategoryCS", "outpat")],
            "specialty": [concept(nucc, "207Q00000X")], "providedBy": ref("Organization"), "location": [ref("Location")],
            "extension": [{
                "url": f"{PLAN_NET}/StructureDefinition/delivery-method",
                "extension": [{"url": "type", "valueCodeableConcept": concept("DeliveryMethodCS", "physical")}],
            }],
        },
        "Practitioner": {
            "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
            "active": True, "name": [{"family": name, "given": ["Ada", "B."]}], "telecom": phone, "gender": "female",
        },
        "PractitionerRole": {
            "active": True, "practitioner": ref("Practitioner"), "organization": ref("Organization"),
            "code": [concept("ProviderRoleCS", "ph")], "specialty": [concept(nucc, "207R00000X")],
            "location": [ref("Location")], "telecom": phone,
        },
        "OrganizationAffiliation": {
            "active": True, "organization": ref("Organization"), "participatingOrganization": ref("Organization"),
            "network": [ref("Network")], "code": [concept("OrganizationAffiliationRoleCS", "outpatient")],
        },
        "InsurancePlan": {
            "status": "active", "type": [concept("InsuranceProductTypeCS", "qhp")], "name": f"{name} Plan",
            "ownedBy": ref("Organization"), "administeredBy": ref("Organization"), "network": [ref("Network")],
            "coverageArea": [ref("Location")], "plan": [{"type": concept("InsurancePlanTypeCS", "bronze")}],
        },
    }
    entries = []
    for kind, resource in resources.items():
        resource_type = "Organization" if kind == "Network" else kind
        whole = {
            "resourceType": resource_type,
            "meta": {"profile": [f"{PLAN_NET}/StructureDefinition/plannet-{kind}"]},
            **resource,
        }
        entries.append({
            "fullUrl": ref(kind)["reference"],
            "resource": whole,
            "request": {"method": "POST", "url": resource_type},
        })
    return entries


class Server:
    def __init__(self, base):
        self.base = base
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {os.environ['ACCESS_TOKEN']}"
        self.parsed = 0

    def send(self, method, path, body=None, expect=(200,), headers=None):
        url = path if path.startswith("http") else f"{self.base}/{path}".rstrip("/")
        sent = {"Accept": JSON, **({"Content-Type": JSON} if body is not None else {}), **(headers or {})}
        answer = self.session.request(method, url, json=body, headers=sent, timeout=60)
        check(answer.status_code in expect, f"{method} {path} answers {answer.status_code}: {answer.text[:500]}")
        return answer

    def parse(self, answer, expected_type):
        """The JSON of an answer, once its model has taken it, and each resource in it has been taken by its own."""
        content_type = answer.headers.get("Content-Type", "")
        check(content_type.startswith(JSON), f"the content type is FHIR's, not {content_type}")
        json = answer.json()
        check(json.get("resourceType") == expected_type, f"expected {expected_type}, got {json.get('resourceType')}")
        self.parse_resource(json)
        return json

    def parse_resource(self, json):
        get_fhir_model_class(json["resourceType"]).model_validate(json)
        self.parsed += 1
        if json["resourceType"] == "Bundle":
            for entry in json.get("entry", []):
                for inner in (entry.get("resource"), entry.get("response", {}).get("outcome")):
                    if inner:
                        self.parse_resource(inner)

    def get(self, path, expected_type, expect=(200,)):
        return self.parse(self.send("GET", path, expect=expect), expected_type)


def transact(server, entries, made):
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = server.send("POST", "", bundle, headers={"Prefer": "return=representation"})
    done = server.parse(answer, "Bundle")
    check(done["type"] == "transaction-response", "a transaction answers a transaction-response")
    check(len(done["entry"]) == len(entries), "it has an entry for each")
    keys = []
    for sent, entry in zip(entries, done["entry"]):
        check(entry["response"]["status"].startswith("201"), f"each is created: {entry['response']}")
        resource_type, resource_id = entry["response"]["location"].split("/_history/")[0].split("/")[-2:]
        check(resource_type == sent["resource"]["resourceType"], "the answers are in order")
        keys.append((resource_type, resource_id))
    made.extend(keys)
    return keys


def run(server, made):
    server.get("metadata", "CapabilityStatement")
    step("parsed the CapabilityStatement")

    name = "Parse" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=10))
    keys = transact(server, directory(name), made)
    step(f"parsed the transaction-response with {len(keys)} resources")

    for resource_type, resource_id in keys:
        resource = server.get(f"{resource_type}/{resource_id}", resource_type)
        check("urn:uuid:" not in str(resource), f"the references of {resource_type} are resolved")
        version = resource["meta"]["versionId"]
        server.get(f"{resource_type}/{resource_id}/_history/{version}", resource_type)
        found = server.get(f"{resource_type}?_id={resource_id}", "Bundle")
        check([entry["resource"]["id"] for entry in found["entry"]] == [resource_id], f"{resource_type} is found by _id")
        history = server.get(f"{resource_type}/{resource_id}/_history", "Bundle")
        check(history["type"] == "history" and len(history["entry"]) == 1, f"{resource_type} has one version")
    step("parsed read, vread, search and history of each type")

    practitioner = next(key for key in keys if key[0] == "Practitioner")
    resource = server.get("/".join(practitioner), "Practitioner")
    resource["name"][0]["given"] = ["Updated"]
    answer = server.send("PUT", "/".join(practitioner), resource, headers={"Prefer": "return=representation"})
    check(server.parse(answer, "Practitioner")["meta"]["versionId"] != resource["meta"]["versionId"], "a new version")
    history = server.get("/".join(practitioner) + "/_history", "Bundle")
    check(len(history["entry"]) == 2, "the history has two versions")
    check(history["entry"][0]["resource"]["name"][0]["given"] == ["Updated"], "the newest version comes first")
    step("parsed an update and its history")

    people = [
        {
            "fullUrl": f"urn:uuid:{uuid.uuid4()}",
            "resource": {
                **{key: value for key, value in resource.items() if key not in ("id", "meta")},
                "meta": {"profile": resource["meta"].get("profile", [])},
                "name": [{"family": f"{name}page", "given": [f"Given{number}"]}],
            },
            "request": {"method": "POST", "url": "Practitioner"},
        }
        for number in range(MANY)
    ]
    expected = {resource_id for _, resource_id in transact(server, people, made)}
    ids, pages, path = [], 0, f"Practitioner?family={name}page&_count={PAGE}"
    while path:
        page = server.get(path, "Bundle")
        check(page["type"] == "searchset", "a page is a searchset")
        ids += [entry["resource"]["id"] for entry in page.get("entry", [])]
        pages += 1
        check(pages <= MANY, "paging ends")
        path = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    check(len(ids) == MANY and set(ids) == expected, f"paging finds each exactly once: {len(ids)} of {MANY}")
    step(f"parsed {pages} pages with {len(ids)} resources, by next links")

    none = server.get(f"Practitioner?family={name}none", "Bundle")
    check(not none.get("entry"), "a wrong name finds none")
    server.get("Practitioner/there-is-none", "OperationOutcome", expect=(404,))
    server.get("Practitioner?_lastUpdated=never", "OperationOutcome", expect=(400,))
    wrong = server.send("POST", "Practitioner", {"resourceType": "Location"}, expect=(400, 422))
    server.parse(wrong, "OperationOutcome")
    step("parsed an empty page, and refusals as OperationOutcomes")


def remove(server, made):
    count = len(made)
    last = made[-1]
    while made:
        path = "/".join(made[-1])
        answer = server.send("DELETE", path, expect=(200, 204))
        if answer.content:
            server.parse(answer, "OperationOutcome")
        server.get(path, "OperationOutcome", expect=(404, 410))
        made.pop()
    history = server.get("/".join(last) + "/_history", "Bundle")
    check(history["entry"][0]["request"]["method"] == "DELETE", "the history begins with the deletion")
    step(f"deleted {count} resources, and parsed the history of a deleted one")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    server = Server(sys.argv[1].rstrip("/"))
    made = []
    try:
        run(server, made)
        # From the end: what refers goes before what it refers to, the one all others hang on last.
        order = ["InsurancePlan", "OrganizationAffiliation", "PractitionerRole", "Practitioner", "HealthcareService",
                 "Location", "Endpoint", "Organization"]
        first_organization = next(key for key in made if key[0] == "Organization")
        made.sort(key=lambda key: (order.index(key[0]), key == first_organization), reverse=True)
        remove(server, made)
    except BaseException:
        # The fault that counts is the first one; what was made goes all the same.
        for key in reversed(made):
            try:
                server.send("DELETE", "/".join(key), expect=(200, 204))
            except Exception as fault:
                print(f"fhir.resources: left behind {'/'.join(key)}: {fault}", file=sys.stderr)
        raise
    step(f"OK: {server.parsed} resources parsed")


if __name__ == "__main__":
    main()
