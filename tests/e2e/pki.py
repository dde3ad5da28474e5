"""Throw-away authorities for tests that need more than certs/make-certs.sh makes: revocation, OCSP,
several names, cross-signing. Everything lives in one temporary directory of the test."""

import datetime
import hashlib
import os
import re
import subprocess


def openssl(*words, **settings):
    """Runs openssl and returns its stdout; raises with its stderr."""
    environment = dict(os.environ, OPENSSL_CONF=settings.pop("config", os.devnull))
    done = subprocess.run(["openssl", *map(str, words)], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, env=environment, **settings)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(map(str, words))}: {done.stderr.decode()}")
    return done.stdout


def stamp(days):
    """That many days from now, as `openssl ca` wants it."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return when.strftime("%Y%m%d%H%M%SZ")


def make_key(path, kind="ec"):
    """ec: P-256; rsa: 2048 bits."""
    options = (["EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec"
               else ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
    openssl("genpkey", "-algorithm", *options, "-out", path)
    return path


def pin(certificate):
    """sha256//BASE64 of the public key, by the recipe that users know."""
    key = openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key,
                         capture_output=True, check=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der,
                            capture_output=True, check=True).stdout
    text = subprocess.run(["openssl", "base64", "-A"], input=digest, capture_output=True,
                          check=True).stdout
    return "sha256//" + text.decode()


def tlsa(usage, selector, matching, certificate):
    """A TLSA record that fits the certificate: "3 1 1 9f86..."."""
    words = ("-outform", "DER") if selector == 0 else ("-noout", "-pubkey")
    data = openssl("x509", "-in", certificate, *words)
    if selector == 1:
        data = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=data,
                              capture_output=True, check=True).stdout
    if matching:
        data = hashlib.new("sha256" if matching == 1 else "sha512", data).digest()
    return f"{usage} {selector} {matching} {data.hex()}"


class Authority:
    """A CA: self-signed, or issued by another. .certificate and .key are paths, as for leaves.
    The same name and key may be certified more than once: `file` tells them apart. usage: its key
    usage, None for none. key_id: whether its certificate names its issuer's key."""

    def __init__(self, directory, name, issuer=None, kind="ec", days=30, begin=-1, key=None,
                 extensions=(), file=None, usage="critical,keyCertSign,cRLSign", key_id=True):
        self.name, self.directory = name, os.path.join(directory, (file or name).replace(" ", "_"))
        os.makedirs(os.path.join(self.directory, "new"))
        self.key = key or make_key(self.path("ca.key"), kind)
        self.certificate = self.path("ca.pem")
        self.index = self.path("index.txt")
        with open(self.index, "w", encoding="ascii"):
            pass
        with open(self.path("index.txt.attr"), "w", encoding="ascii") as attributes:
            attributes.write("unique_subject = no\n")
        with open(self.path("crlnumber"), "w", encoding="ascii") as number:
            number.write("01\n")
        self.config = self.path("ca.cnf")
        with open(self.config, "w", encoding="ascii") as config:
            config.write(
                "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = x\n"
                "[ca]\ndefault_ca = this\n[this]\n"
                f"database = {self.index}\nnew_certs_dir = {self.path('new')}\n"
                f"certificate = {self.certificate}\nprivate_key = {self.key}\n"
                f"crlnumber = {self.path('crlnumber')}\nrand_serial = yes\n"
                "unique_subject = no\ndefault_md = sha256\ndefault_days = 30\n"
                "default_crl_days = 30\npolicy = any\nemail_in_dn = no\n"
                "[list]\nauthorityKeyIdentifier = keyid:always\n"
                "[bare_list]\n"
                "[any]\ncommonName = optional\norganizationalUnitName = optional\n"
                "organizationName = optional\n")
        lines = ["basicConstraints = critical,CA:true", "subjectKeyIdentifier = hash", *extensions]
        if usage:
            lines.append("keyUsage = " + usage)
        if issuer is not None:
            lines.append("authorityKeyIdentifier = " + ("keyid" if key_id else "none"))
        (issuer or self)._sign(self.certificate, self.key, f"/CN={name}", lines, begin, days,
                               self_signed=issuer is None)

    def path(self, name):
        return os.path.join(self.directory, name)

    def _sign(self, out, key, subject, extensions, begin, end, self_signed=False):
        request, sections = out + ".csr", out + ".ext"
        with open(sections, "w", encoding="ascii") as file:
            file.write("\n".join(extensions) + "\n")
        openssl("req", "-new", "-key", key, "-subj", subject, "-out", request, config=self.config)
        words = ["ca", "-batch", "-notext", "-in", request, "-out", out, "-extfile", sections,
                 "-startdate", stamp(begin), "-enddate", stamp(end)]
        if self_signed:
            words += ["-selfsign", "-keyfile", key]
        openssl(*words, config=self.config)

    def issue(self, file, cn=None, san=("DNS:localhost", "IP:127.0.0.1"), kind="ec", begin=-1,
              days=20, eku="serverAuth,clientAuth", extensions=(), subject=None, key=None, key_id=True):
        """A leaf; days may be negative (begin too, then). Returns a Leaf."""
        leaf = Leaf(self.path(file + ".pem"), key or make_key(self.path(file + ".key"), kind))
        lines = ["basicConstraints = critical,CA:false", "subjectKeyIdentifier = hash",
                 f"extendedKeyUsage = {eku}", *extensions]
        lines.append("authorityKeyIdentifier = " + ("keyid" if key_id else "none"))
        if san:
            lines.append("subjectAltName = " + ",".join(san))
        self._sign(leaf.certificate, leaf.key, subject or f"/CN={cn or file}", lines, begin, days)
        return leaf

    def revoke(self, leaf):
        openssl("ca", "-revoke", leaf.certificate, config=self.config)

    def crl(self, file="ca.crl", begin=-1, days=10, der=False, key_id=True):
        """Writes a CRL with what was revoked so far. key_id: whether it names its issuer's key, as
        RFC 5280 5.2.1 wants it."""
        path = self.path(file)
        openssl("ca", "-gencrl", "-out", path, "-crl_lastupdate", stamp(begin),
                "-crl_nextupdate", stamp(days), "-crlexts", "list" if key_id else "bare_list",
                config=self.config)
        if der:
            openssl("crl", "-in", path, "-outform", "DER", "-out", path)
        return path

    def ocsp(self, leaf, file, *options, signer=None, days=5):
        """Writes an OCSP response, DER: what the index says of the leaf, "unknown" if it is of
        another CA. Signed by this CA, or by what has .certificate and .key."""
        signer, path = signer or self, self.path(file)
        openssl("ocsp", "-issuer", self.certificate, "-cert", leaf.certificate, "-no_nonce",
                "-reqout", path + ".req")
        openssl("ocsp", "-index", self.index, "-CA", self.certificate, "-rsigner",
                signer.certificate, "-rkey", signer.key, "-reqin", path + ".req", "-respout", path,
                "-ndays", days, *options)
        return path


class Leaf:
    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    def chain(self, *issuers):
        """A file with the leaf and these behind it; issuers have .certificate, or are paths."""
        path = self.certificate + ".chain"
        with open(path, "w", encoding="ascii") as out:
            for each in (self, *issuers):
                with open(getattr(each, "certificate", each), encoding="ascii") as file:
                    out.write(file.read())
        return path


def concatenate(path, *files):
    with open(path, "w", encoding="ascii") as out:
        for each in files:
            with open(each, encoding="ascii") as file:
                out.write(file.read())
    return path


# ---- OCSP responses of other days: `openssl ocsp` makes them as of now only ----

def _element(data, at=0):
    """Of DER: where the element's contents begin and end."""
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7f
        length, begin = int.from_bytes(data[begin:begin + count], "big"), begin + count
    return begin, begin + length


def _wrap(tag, contents):
    size = len(contents)
    octets = size.to_bytes((size.bit_length() + 7) // 8 or 1, "big")
    return bytes([tag]) + (bytes([size]) if size < 0x80
                           else bytes([0x80 | len(octets)]) + octets) + contents


def redate(response, key, begin, end, out):
    """Writes to out the same response of a good certificate, as if made `begin` days from now and
    valid to `end`, signed anew with key (ECDSA or RSA with SHA-256, as it was)."""
    with open(response, "rb") as file:
        data = file.read()
    # OCSPResponse { status, [0] { responseBytes { OID, OCTET STRING { basic } } } }
    body, _ = _element(data)
    _, status = _element(data, body)
    explicit, _ = _element(data, status)
    inner, _ = _element(data, explicit)
    _, oid = _element(data, inner)
    octets, _ = _element(data, oid)
    basic, basic_end = _element(data, octets)
    # BasicOCSPResponse { tbs, algorithm, BIT STRING, [0] certificates }
    _, tbs_end = _element(data, basic)
    _, algorithm_end = _element(data, tbs_end)
    _, signature_end = _element(data, algorithm_end)
    dates = [stamp(begin), stamp(begin), stamp(end)]  # producedAt, thisUpdate, nextUpdate
    tbs = re.sub(rb"\x18\x0f\d{14}Z", lambda _: b"\x18\x0f" + dates.pop(0).encode(),
                 data[basic:tbs_end])
    assert not dates, "this is no response of a good certificate"
    with open(out + ".tbs", "wb") as file:
        file.write(tbs)
    signature = openssl("dgst", "-sha256", "-sign", key, out + ".tbs")
    made = _wrap(0x30, tbs + data[tbs_end:algorithm_end] + _wrap(3, b"\0" + signature)
                 + data[signature_end:basic_end])
    made = _wrap(0xa0, _wrap(0x30, data[inner:oid] + _wrap(4, made)))
    with open(out, "wb") as file:
        file.write(_wrap(0x30, data[body:status] + made))
    return out
