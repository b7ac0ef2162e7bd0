"""What fhirpy (SyncFHIRClient) does with the server: create, read, search, page, count, update, include, delete.

Usage: fhirpy_client.py BASE_URL, with an access token in ACCESS_TOKEN
"""

import os
import random
import sys

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

PLAN_NET = "http://hl7.org/fhir/us/davinci-pdex-plan-net"
MANY = 55
PAGE = 10


def step(text):
    print(f"fhirpy: {text}", flush=True)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def npi():
    """A National Provider Identifier with a valid check digit (Luhn over 80840 and the nine digits)."""
    digits = [random.randint(1, 2)] + [random.randint(0, 9) for _ in range(8)]
    total = 24
    for position, digit in enumerate(digits):
        doubled = digit * 2 if position % 2 == 0 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return "".join(map(str, digits)) + str(-total % 10)


def practitioner(family, given):
    return {
        "meta": {"profile": [f"{PLAN_NET}/StructureDefinition/plannet-Practitioner"]},
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": npi()}],
        "active": True,
        "name": [{"family": family, "given": [given], "text": f"{given} {family}"}],
        "telecom": [{"system": "phone", "value": "860-555-0100", "use": "work"}],
    }


def role(reference):
    return {
        "meta": {"profile": [f"{PLAN_NET}/StructureDefinition/plannet-PractitionerRole"]},
        "active": True,
        "practitioner": {"reference": reference},
        "code": [{"coding": [{"system": f"{PLAN_NET}/CodeSystem/ProviderRoleCS", "code": "ph"}]}],
        "telecom": [{"system": "phone", "value": "860-555-0101"}],
    }


def run(client, made):
    family = "Fhirpy" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=10))

    for number in range(MANY):
        resource = client.resource("Practitioner", **practitioner(family, f"Given{number}"))
        resource.save()
        made.append(resource)
        check(resource.id, "a created resource has an id")
        check(resource["meta"]["versionId"], "a created resource has a version")
    step(f"created {MANY} practitioners")

    first = made[0]
    read = client.reference("Practitioner", first.id).to_resource()
    check(read["name"][0]["family"] == family, "a read answers what was created")
    check(read["identifier"] == first["identifier"], "a read answers the identifier that was created")
    step("read one by reference")

    search = client.resources("Practitioner").search(family=family)
    check(search.count() == MANY, f"count is {MANY}")
    step("counted them (_count=0)")

    check(len(search.limit(PAGE).fetch()) == PAGE, f"a page has {PAGE} resources")
    found = search.limit(PAGE).fetch_all()
    ids = [resource.id for resource in found]
    check(len(ids) == MANY, f"paging finds {MANY}, not {len(ids)}")
    check(set(ids) == {resource.id for resource in made}, "paging finds each exactly once")
    step(f"paged through {len(ids)} by next links, {PAGE} at a time")

    given = [resource["name"][0]["given"][0] for resource in search.limit(PAGE).sort("-_lastUpdated", "_id")]
    check(len(given) == MANY and len(set(given)) == MANY, "iterating a sorted search finds each exactly once")
    step("iterated over a sorted search")

    only = client.resources("Practitioner").search(_id=first.id).get()
    check(only.id == first.id, "get() by _id answers the one")
    check(client.resources("Practitioner").search(family=family + "x").first() is None, "nothing is found for a wrong name")
    step("searched for one and for none")

    before = first["meta"]["versionId"]
    first["name"][0]["given"] = ["Renamed"]
    first.save()
    check(first["meta"]["versionId"] != before, "an update makes a new version")
    check(first["name"][0]["given"] == ["Renamed"], "an update answers the new content")
    first.refresh()
    check(first["name"][0]["given"] == ["Renamed"], "refresh() answers the new content")
    step("updated one, and refreshed it (If-None-Match)")

    its_role = client.resource("PractitionerRole", **role(f"Practitioner/{first.id}"))
    its_role.save()
    made.append(its_role)
    roles = client.resources("PractitionerRole").search(practitioner=f"Practitioner/{first.id}")
    bundle = roles.include("PractitionerRole", "practitioner").fetch_raw()
    included = [entry["resource"]["id"] for entry in bundle["entry"] if entry["search"]["mode"] == "include"]
    check(included == [first.id], "_include answers the practitioner of the role")
    step("searched with _include")

    try:
        client.reference("Practitioner", "there-is-none").to_resource()
        raise AssertionError("an unknown id is not found")
    except ResourceNotFound:
        step("an unknown id is ResourceNotFound")

    try:
        client.execute("Practitioner", method="get", params={"_lastUpdated": "never"})
        raise AssertionError("a malformed date is refused")
    except OperationOutcome as refused:
        check(refused.resource["issue"], "a refusal has an issue")
        step("a malformed search is an OperationOutcome")


def remove(client, made):
    count = len(made)
    while made:
        resource = made[-1]
        resource.delete()
        try:
            client.reference(resource.resource_type, resource.id).to_resource()
            raise AssertionError("a deleted resource is not found")
        except ResourceNotFound:
            made.pop()
    step(f"deleted {count} resources")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    client = SyncFHIRClient(sys.argv[1].rstrip("/"), authorization=f"Bearer {os.environ['ACCESS_TOKEN']}")
    made = []
    try:
        run(client, made)
    except BaseException:
        # The fault that counts is the first one; what was made goes all the same.
        for resource in reversed(made):
            try:
                resource.delete()
            except Exception as fault:
                print(f"fhirpy: left behind {resource.resource_type}/{resource.id}: {fault!r}", file=sys.stderr)
        raise
    remove(client, made)
    step("OK")


if __name__ == "__main__":
    main()
