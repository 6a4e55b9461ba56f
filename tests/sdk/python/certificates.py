"""Certificates made with the openssl command, as device owners make them."""

import hashlib
import pathlib
import ssl
import subprocess

CONFIGURATION = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[device]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
"""


class Certificate:
    """A certificate and its key; `chain` also has the intermediates that a device must send along."""

    def __init__(self, folder, name, above=()):
        self.file = pathlib.Path(folder, f"{name}.pem")
        self.key_file = pathlib.Path(folder, f"{name}.key")
        self.chain_file = pathlib.Path(folder, f"{name}-chain.pem")
        self.above = list(above)

    @property
    def pem(self):
        return self.file.read_text()

    @property
    def thumbprint(self):
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.pem)).hexdigest().upper()

    def chained(self):
        self.chain_file.write_text(self.pem + "".join(authority.pem for authority in self.above))
        return self


class Pki:
    def __init__(self, folder):
        self.folder = folder
        self.configuration = pathlib.Path(folder, "openssl.cnf")
        self.configuration.write_text(CONFIGURATION)

    def self_signed(self, name, kind="device"):
        made = Certificate(self.folder, name)
        self._openssl("req", "-x509", "-days", "2", "-extensions", kind, *self._request(made, name), "-out", made.file)
        return made.chained()

    def root(self, name):
        return self.self_signed(name, "authority")

    def signed(self, name, issuer, is_root=True, kind="device"):
        made = Certificate(self.folder, name, [] if is_root else [issuer, *issuer.above])
        request = pathlib.Path(self.folder, f"{name}.csr")
        self._openssl("req", "-new", *self._request(made, name), "-out", request)
        self._openssl(
            "x509", "-req", "-in", request, "-CA", issuer.file, "-CAkey", issuer.key_file, "-CAcreateserial",
            "-days", "2", "-extfile", self.configuration, "-extensions", kind, "-out", made.file,
        )  # fmt: skip
        return made.chained()

    def proof(self, code, authority):
        """What the documentation of the cloud service tells owners to do: no extensions at all."""
        made = Certificate(self.folder, code)
        request = pathlib.Path(self.folder, f"{code}.csr")
        self._openssl("req", "-new", *self._request(made, code), "-out", request)
        self._openssl(
            "x509", "-req", "-in", request, "-CA", authority.file, "-CAkey", authority.key_file, "-CAcreateserial",
            "-days", "2", "-out", made.file,
        )  # fmt: skip
        return made

    def _request(self, certificate, name):
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        return ["-config", self.configuration, *curve, "-keyout", certificate.key_file, "-subj", f"/CN={name}"]

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
