"""An app on a web server, made with fhirclient (the SMART on FHIR Python client): its user logs in and lets it in, it
changes what its user may change, and refreshes its token. The library sends PKCE's challenge by itself.

Usage: fhirclient_app.py BASE_URL, with what smart.sh exports
"""

import json
import logging
import os
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests
from fhirclient.client import FHIRClient
from fhirclient.models.practitioner import Practitioner
from fhirclient.server import FHIRPermissionDeniedException, FHIRUnauthorizedException

ID = "python-app"
# Nothing has to answer there: the address that the browser is sent to is all that the app needs.
REDIRECT_URI = "http://127.0.0.1:1/callback"
SCOPE = "openid fhirUser offline_access user/Practitioner.rus"
USER = os.environ["FHIR_USER"].split("/")[1]


def step(text):
    print(f"fhirclient app: {text}", flush=True)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def refused(work, fault, text):
    try:
        work()
    except fault:
        return
    raise AssertionError(text)


class Forms(HTMLParser):
    """The forms of a page: where each goes, and what it brings along."""

    def __init__(self, page):
        super().__init__()
        self.all = []
        self.feed(page.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.all.append((attributes["action"], {}))
        elif tag == "input":
            self.all[-1][1][attributes["name"]] = attributes.get("value", "")


def submit(browser, page, **filled):
    action, fields = Forms(page).all[0]
    return browser.post(urljoin(page.url, action), data={**fields, **filled}, allow_redirects=False)


def let_in(url):
    """What a user does in a browser, from the app's link to the address that leads back to the app."""
    browser = requests.Session()
    login = browser.get(url)
    check(login.status_code == 200, f"a login page: {login.status_code} {login.text}")
    wrong = submit(browser, login, username=os.environ["LOGIN"], password="a wrong password")
    check(wrong.status_code == 403 and "password is wrong" in wrong.text, "a wrong password is told")
    consent = submit(browser, wrong, username=os.environ["LOGIN"], password=os.environ["PASSWORD"])
    check(consent.status_code == 200 and ID in consent.text, f"a consent page: {consent.status_code} {consent.text}")
    back = submit(browser, consent, decision="allow")
    check(back.status_code == 303 and back.headers["Location"].startswith(REDIRECT_URI), "the way back to the app")
    return back.headers["Location"]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # It warns that it has no use for an id_token.
    logging.getLogger("fhirclient").setLevel(logging.ERROR)
    command = [os.environ["PLUMBLINE"], "client", "add", "--id", ID, "--scope", SCOPE, "--redirect-uri", REDIRECT_URI]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    settings = {"app_id": ID, "api_base": sys.argv[1], "redirect_uri": REDIRECT_URI, "scope": SCOPE}
    app = FHIRClient(settings=settings)
    check(not app.prepare(), "the CapabilityStatement says that a token is to be had")
    refused(lambda: Practitioner.read(USER, app.server).update(app.server), FHIRUnauthorizedException, "no token")
    step("discovered the server; reads without a token, but does not write")

    url = app.authorize_url
    check("code_challenge_method=S256" in url, "the library sends a challenge")
    # Between two requests, an app on a web server keeps its state in a session.
    state = json.loads(json.dumps(app.state))
    callback = let_in(url)
    step("its user logged in, at the second attempt, and let it in")

    app = FHIRClient(state=state)
    app.handle_callback(callback)
    check(app.ready, "the code is exchanged for a token")
    check(set(app.launch_context["scope"].split()) == set(SCOPE.split()), "the scopes are granted")
    step("exchanged the code")

    me = Practitioner.read(USER, app.server)
    me.gender = "unknown"
    check(me.update(app.server)["meta"]["versionId"] == "2", "the token lets its user change their own entry")
    other = Practitioner.read("practitioner-000002", app.server)
    refused(lambda: other.update(app.server), FHIRPermissionDeniedException, "but not that of somebody else")
    step("changed the entry of its user, and no other")

    first = app.server.auth.access_token, app.server.auth.refresh_token
    check(app.reauthorize(), "the token is refreshed")
    second = app.server.auth.access_token, app.server.auth.refresh_token
    check(all(second) and not set(first) & set(second), "both tokens are new")
    me.gender = "female"
    check(me.update(app.server)["meta"]["versionId"] == "3", "the new token works")
    step("refreshed the token")
    step("OK")


if __name__ == "__main__":
    main()
