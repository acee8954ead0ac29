"""The twin as a whole: KMS, CloudTrail and control endpoint of ours in front of moto, over HTTP and HTTPS.

moto's ``DomainDispatcherApplication`` takes the factory of its applications as an argument; ours answers for ``kms``,
in part for ``cloudtrail`` and ``sts``, and leaves everything else to moto. Nothing of moto is patched. moto's state
(IAM, STS, S3, ...) is one a process, so two twins that run at once in one process share users and roles, but no keys;
the last of them to stop clears it, and the next twin begins with an empty cloud.
"""

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from pcrgate.attestation.anchors import Roots
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.accounts import Accounts
from pcrgate.twin.audit import AuditTrail
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.cloud import shared_cloud
from pcrgate.twin.cloudtrail_app import CloudTrailApp
from pcrgate.twin.control_app import PREFIX, ControlApp, ControlParts
from pcrgate.twin.counters import CallCounters
from pcrgate.twin.environment import exports
from pcrgate.twin.http_edge import StartResponse
from pcrgate.twin.kms.enforcement import Enforcement
from pcrgate.twin.kms.enforcement_guard import KeyPolicyGuard
from pcrgate.twin.kms.randomness import SeededRandomness, SystemRandomness
from pcrgate.twin.kms.service import KmsService
from pcrgate.twin.kms.store import DirectoryStore, MemoryStore
from pcrgate.twin.kms_app import TARGET_PREFIX, KmsApp, KmsParts
from pcrgate.twin.listener import Listener
from pcrgate.twin.modes import Modes
from pcrgate.twin.propagation import Propagation
from pcrgate.twin.recipient_check import RecipientChecker
from pcrgate.twin.settings import TwinSettings
from pcrgate.twin.state import derive, open_identity
from pcrgate.twin.sts_app import StsApp


class Twin:
    """Run a twin; a context manager that stops it at the end.

    Attributes:
        settings: how it was started.
        pki: the development PKI whose documents it accepts.
        pki_dir: where that PKI is saved, for a software NSM in another process.
        ca_path: PEM of the CA behind the HTTPS listener.
        clock: its clock.
        modes: its behaviour; may be changed while it runs.
        audit: its CloudTrail records.
        counters: how often it was asked for what.
        accounts: whom it knows.
    """

    def __init__(self, settings: TwinSettings) -> None:
        """Open state and make the applications; nothing listens yet.

        Raises:
            UsageError: for a state directory that cannot be used, or settings without a listener.
        """
        if settings.http_port is None and settings.https_port is None:
            raise UsageError(ErrorCode.TWIN_SETTINGS, "neither an HTTP nor an HTTPS port is set, expected one at least")
        self.settings: Final = settings
        self._stack: Final = ExitStack()
        self._listeners: dict[str, Listener] = {}
        with ExitStack() as opening:
            folder = settings.state_dir or Path(
                opening.enter_context(tempfile.TemporaryDirectory(prefix="pcrgate-twin-"))
            )
            # First of all: the store locks the folder, and nothing in it is read or made by two twins.
            store = MemoryStore() if settings.state_dir is None else DirectoryStore(folder / "kms")
            opening.callback(store.close)
            identity = open_identity(settings, folder)
            self._bootstrap: Final = identity.bootstrap
            self.pki: Final = identity.pki
            self.pki_dir: Final = identity.pki_dir
            self.ca_path: Final = identity.tls.ca_path
            self._tls: Final = identity.tls
            frozen_ms = settings.frozen_time_ms
            self.clock: Final = TwinClock.running() if frozen_ms is None else TwinClock.frozen(frozen_ms)
            self.modes: Final = Modes(settings.modes, clock_ms=self.clock)
            self.audit: Final = AuditTrail(clock_ms=self.clock)
            self.counters: Final = CallCounters()
            opening.enter_context(shared_cloud())
            self.accounts: Final = Accounts(identity.bootstrap)
            self._kms: Final = KmsService(
                store=store,
                clock_ms=self.clock,
                randomness=SystemRandomness()
                if settings.seed is None
                else SeededRandomness(derive(identity.seed, f"kms {identity.starts}")),
                guard=KeyPolicyGuard(self.accounts),
                content_form=settings.content_form,
            )
            self._app: Final = self._make_app()
            self._stack.push(opening.pop_all())

    @property
    def url(self) -> str:
        """The endpoint to use: HTTPS where there is one, else HTTP."""
        return self._listener("https" if self.settings.https_port is not None else "http").url

    @property
    def urls(self) -> tuple[str, ...]:
        """Every endpoint, HTTP first."""
        return tuple(listener.url for listener in self._listeners.values())

    @property
    def http_url(self) -> str:
        """The HTTP endpoint.

        Raises:
            UsageError: ``twin-settings`` when there is none, or the twin is not running.
        """
        return self._listener("http").url

    @property
    def https_url(self) -> str:
        """The HTTPS endpoint.

        Raises:
            UsageError: ``twin-settings`` when there is none, or the twin is not running.
        """
        return self._listener("https").url

    def start(self) -> Self:
        """Begin to listen.

        Raises:
            UsageError: ``usage-port`` when a port is in use.
        """
        settings = self.settings
        with ExitStack() as opening:
            if settings.http_port is not None:
                self._listeners["http"] = Listener(settings.host, settings.http_port, self._app)
                opening.callback(self._listeners["http"].stop)
            if settings.https_port is not None:
                context = self._tls.server_context()
                self._listeners["https"] = Listener(settings.host, settings.https_port, self._app, context=context)
                opening.callback(self._listeners["https"].stop)
            self._stack.push(opening.pop_all())
        return self

    def stop(self) -> None:
        """Stop listening and close the state. Stopping twice is fine."""
        self._stack.close()

    def environment(self, account: str | None = None) -> Mapping[str, str]:
        """Return the variables that point AWS tools at this twin, as root of an account (by default the owning one).

        Raises:
            UsageError: ``twin-settings`` for an account without a bootstrap key.
        """
        wanted = account or self.settings.account
        key = next((key for key in self._bootstrap if key.account == wanted), None)
        if key is None:
            raise UsageError(ErrorCode.TWIN_SETTINGS, "the account is not one that the twin was started with")
        return exports(
            url=self.url,
            key=key,
            region=self.settings.region,
            ca_path=None if self.settings.https_port is None else self.ca_path,
            pki_dir=self.pki_dir,
            root_fingerprint=self.pki.root_fingerprint,
        )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listener(self, scheme: str) -> Listener:
        listener = self._listeners.get(scheme)
        if listener is None:
            raise UsageError(ErrorCode.TWIN_SETTINGS, f"the twin has no running {scheme} listener")
        return listener

    def _make_app(self) -> "_Front":
        settings = self.settings
        propagation = Propagation(clock_ms=self.clock, delay_s=lambda: self.modes.settings.propagation_delay_s)
        roots = Roots(fingerprints=settings.root_fingerprints | {self.pki.root_fingerprint})
        kms = KmsApp(
            KmsParts(
                kms=self._kms,
                accounts=self.accounts,
                checker=RecipientChecker(roots, clock_ms=self.clock, max_age_s=settings.max_document_age_s),
                enforcement=Enforcement(propagation),
                propagation=propagation,
                modes=self.modes,
                audit=self.audit,
                counters=self.counters,
                clock=self.clock,
            )
        )

        def create_app(service: Any) -> Any:
            if service == "kms":
                return kms
            if service == "cloudtrail":
                otherwise = create_backend_app(service)
                return CloudTrailApp(audit=self.audit, accounts=self.accounts, clock=self.clock, otherwise=otherwise)
            if service == "sts":
                return StsApp(accounts=self.accounts, clock=self.clock, otherwise=create_backend_app(service))
            return create_backend_app(service)

        control = ControlApp(
            ControlParts(
                modes=self.modes,
                audit=self.audit,
                counters=self.counters,
                clock=self.clock,
                environment=self.environment,
            )
        )
        return _Front(kms=kms, control=control, others=DomainDispatcherApplication(create_app))


class _Front:
    """Send a request to whom it is for: moto's dispatcher goes by the signature, which an unsigned request lacks."""

    def __init__(self, *, kms: KmsApp, control: ControlApp, others: Any) -> None:
        self._kms = kms
        self._control = control
        self._others = others

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Spec: PEP 3333."""
        if environ.get("PATH_INFO", "").startswith(PREFIX):
            return self._control(environ, start_response)
        if environ.get("HTTP_X_AMZ_TARGET", "").startswith(TARGET_PREFIX):
            return self._kms(environ, start_response)
        answer: Iterable[bytes] = self._others(environ, start_response)
        return answer
