"""SSL contexts: made of files, kept while the files last."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.registry.tls import Tls, TlsContexts
from tests.support.registry import make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_a_context_is_kept_until_a_file_changes(certificates: tuple[Path, Path, Path]) -> None:
    ca, certificate, key = certificates
    contexts = TlsContexts()
    tls = Tls((ca,), ((certificate, key),))
    first = contexts.context(tls)
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.check_hostname
    assert any("podwright test authority" in str(one) for one in first.get_ca_certs())
    assert contexts.context(Tls((ca,), ((certificate, key),))) is first
    os.utime(ca, ns=(1, 1))
    assert contexts.context(tls) is not first


def test_verification_is_skipped_only_where_asked() -> None:
    contexts = TlsContexts()
    careless = contexts.context(Tls(skip_verify=True))
    assert careless.verify_mode is ssl.CERT_NONE
    assert contexts.context(Tls()).verify_mode is ssl.CERT_REQUIRED


def test_another_host_is_shown_no_certificate(certificates: tuple[Path, Path, Path]) -> None:
    ca, certificate, key = certificates
    assert Tls((ca,), ((certificate, key),), skip_verify=True).anonymous() == Tls((ca,), (), skip_verify=True)


def test_files_that_cannot_be_used_are_named(tmp_path: Path, certificates: tuple[Path, Path, Path]) -> None:
    ca, certificate, _ = certificates
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    contexts = TlsContexts()
    for tls, words in [
        (Tls((junk,)), "junk.pem holds no certificate authority"),
        (Tls((tmp_path / "absent.crt",)), "absent.crt can't be read"),
        (Tls((), ((certificate, junk),)), "junk.pem are no certificate with its key"),
        (Tls((), ((certificate, ca),)), "are no certificate with its key"),
    ]:
        with pytest.raises(InvalidArgument, match=words):
            contexts.context(tls)
