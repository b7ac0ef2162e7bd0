"""What fhirclient (the SMART on FHIR Python client) does with the server. Its models are strict R4: each answer is
checked against them as it is read.

Usage: fhirclient_client.py BASE_URL, with an access token in ACCESS_TOKEN
"""

import os
import random
import sys

from fhirclient import client as smart
from fhirclient.models.bundle import Bundle
from fhirclient.models.organization import Organization
from fhirclient.models.practitioner import Practitioner
from fhirclient.models.practitionerrole import PractitionerRole
from fhirclient.server import FHIRNotFoundException
from requests.exceptions import HTTPError

PLAN_NET = "http://hl7.org/fhir/us/davinci-pdex-plan-net"
MANY = 52
PAGE = 15


def step(text):
    print(f"fhirclient: {text}", flush=True)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def organization(name):
    return {
        "resourceType": "Organization",
        "meta": {"profile": [f"{PLAN_NET}/StructureDefinition/plannet-Organization"]},
        "active": True,
        "type": [{"coding": [{"system": f"{PLAN_NET}/CodeSystem/OrgTypeCS", "code": "payer", "display": "Payer"}]}],
        "name": name,
        "telecom": [{"system": "phone", "value": "860-555-0100"}],
        "address": [{"line": ["456 Main Street"], "city": "Norwalk", "state": "CT", "postalCode": "06850"}],
    }


def practitioner(family):
    return {
        "resourceType": "Practitioner",
        "meta": {"profile": [f"{PLAN_NET}/StructureDefinition/plannet-Practitioner"]},
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
        "active": True,
        "name": [{"family": family, "given": ["Ada"]}],
    }


def create(server, resource, made):
    """The model, as the server has it. create() answers the JSON of the body."""
    answer = resource.create(server)
    check(answer and answer.get("id"), "a create answers the resource with its id")
    created = type(resource)(answer)
    created.origin_server = server
    made.append(created)
    return created


def run(server, made):
    capability = server.capabilityStatement
    check(capability.fhirVersion.startswith("4.0"), f"the server speaks R4, not {capability.fhirVersion}")
    types = {resource.type for rest in capability.rest for resource in rest.resource}
    check({"Practitioner", "Organization", "PractitionerRole"} <= types, "the directory's types are declared")
    step("read the CapabilityStatement")

    name = "Fhirclient" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=10))
    for number in range(MANY):
        create(server, Organization(organization(f"{name} {number:03}")), made)
    organizations = list(made)
    step(f"created {MANY} organizations")

    first = organizations[0]
    read = Organization.read(first.id, server)
    check(read.name == first.name and read.meta.versionId, "a read answers what was created")
    step("read one")

    search = Organization.where({"name": name, "_count": str(PAGE)})
    pages = list(search.perform_iter(server))
    check(len(pages) == -(-MANY // PAGE), f"{MANY} come in pages of {PAGE}, not in {len(pages)} pages")
    check(all(page.type == "searchset" for page in pages), "each page is a searchset")
    check(all(len(page.entry) == PAGE for page in pages[:-1]), f"each page but the last has {PAGE}")
    ids = [entry.resource.id for page in pages for entry in page.entry]
    check(len(ids) == MANY and set(ids) == {made.id for made in organizations}, "paging finds each exactly once")
    step(f"paged through {len(ids)} in {len(pages)} pages by next links")

    listed = list(Organization.where({"name": name, "_sort": "name", "_count": "20"}).perform_resources_iter(server))
    check([made.name for made in listed] == sorted(made.name for made in listed), "_sort=name sorts by name")
    check(len(listed) == MANY, "a sorted search finds each")
    step("paged through a sorted search")

    exact = list(Organization.where({"name": {"$exact": f"{name} 007"}}).perform_resources_iter(server))
    check([made.name for made in exact] == [f"{name} 007"], "name:exact finds the one")
    none = list(Organization.where({"name": name + "x"}).perform_resources_iter(server))
    check(none == [], "a wrong name finds none")
    step("searched for one and for none")

    before = read.meta.versionId
    read.name = f"{name} renamed"
    answer = read.update(server)
    check(answer["meta"]["versionId"] != before, "an update makes a new version")
    check(Organization.read(first.id, server).name == f"{name} renamed", "a read answers the update")
    old = Organization.read_from(f"Organization/{first.id}/_history/{before}", server)
    check(old.name == first.name, "a vread answers the old version")
    history = Bundle.read_from(f"Organization/{first.id}/_history", server)
    check(history.type == "history" and len(history.entry) == 2, "the history has two versions")
    step("updated one; read both versions and the history")

    person = create(server, Practitioner(practitioner(name)), made)
    role = create(
        server,
        PractitionerRole({
            "resourceType": "PractitionerRole",
            "meta": {"profile": [f"{PLAN_NET}/StructureDefinition/plannet-PractitionerRole"]},
            "active": True,
            "practitioner": {"reference": f"Practitioner/{person.id}"},
            "telecom": [{"system": "phone", "value": "860-555-0101"}],
        }),
        made,
    )
    search = PractitionerRole.where({"practitioner": f"Practitioner/{person.id}"})
    search = search.include("practitioner", PractitionerRole)
    both = {(found.resource_type, found.id) for found in search.perform_resources_iter(server)}
    check(both == {("PractitionerRole", role.id), ("Practitioner", person.id)}, "_include answers role and practitioner")
    step("searched with _include")

    try:
        Organization.read("there-is-none", server)
        raise AssertionError("an unknown id is not found")
    except FHIRNotFoundException as fault:
        check(fault.response.json()["resourceType"] == "OperationOutcome", "a 404 has an OperationOutcome")
        step("an unknown id is not found")


def remove(server, made):
    count = len(made)
    while made:
        resource = made[-1]
        resource.delete(server)
        try:
            type(resource).read(resource.id, server)
            raise AssertionError("a deleted resource is not found")
        except FHIRNotFoundException:
            pass
        except HTTPError as fault:
            check(fault.response.status_code == 410, f"a deleted resource is gone: {fault}")
        made.pop()
    step(f"deleted {count} resources")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    server = smart.FHIRClient(settings={"app_id": "plumbline-tests", "api_base": sys.argv[1]}).server
    server.prepare()
    server.auth.access_token = os.environ["ACCESS_TOKEN"]
    made = []
    try:
        run(server, made)
    except BaseException:
        # The fault that counts is the first one; what was made goes all the same.
        for resource in reversed(made):
            try:
                resource.delete(server)
            except Exception as fault:
                print(f"fhirclient: left behind {resource.relativePath()}: {fault!r}", file=sys.stderr)
        raise
    remove(server, made)
    step("OK")


if __name__ == "__main__":
    main()
