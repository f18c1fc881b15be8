"""Run the demo experiment on the cluster of the current context: MinIO, the episodes, `helm install`, and the results.

usage: python k8s/demo.py [--keep] [--namespace groot-demo] [--release demo] [-f MORE.yaml ...] [--set a.b=c ...]

It reaches only the cluster. The images must be on the nodes (python k8s/images.py load). MINIO_IMAGE names another
MinIO image. The release is removed at the end unless --keep is given; the namespace with MinIO and its bucket stays
until you run this with --remove.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
EPISODES = ROOT / "examples" / "data" / "aloha_sim_transfer_cube"
BUCKET = "groot"


def tool(name: str) -> str:
    """Path of helm or kubectl: .tools first, then PATH."""
    own = TOOLS / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        sys.exit(f"demo: {name} is missing; python k8s/get_tools.py fetches it")
    return found


def run(*words: str, stdin: str | None = None, quiet: bool = False) -> str:
    """Run a command and return its output; exits if it fails."""
    done = subprocess.run(list(words), input=stdin, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"demo: {' '.join(words[:5])} ... failed: {done.stderr.strip() or done.stdout.strip()}")
    if not quiet and done.stdout.strip():
        print(done.stdout.rstrip(), flush=True)
    return done.stdout


class Demo:
    """One release of the demo in one namespace."""

    def __init__(self, namespace: str, release: str) -> None:
        self.namespace, self.release = namespace, release

    def kubectl(self, *words: str, stdin: str | None = None, quiet: bool = True) -> str:
        """kubectl in the demo's namespace."""
        return run(tool("kubectl"), "-n", self.namespace, *words, stdin=stdin, quiet=quiet)

    def prepare(self) -> None:
        """Create the namespace (Pod Security `restricted`), MinIO with random keys, and the Secret of the release."""
        space = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
        run(tool("kubectl"), "apply", "-f", "-", stdin=json.dumps(space), quiet=True)
        if not self.kubectl("get", "secret", "minio", "--ignore-not-found", "-o", "name").strip():
            user, password = "groot-demo", secrets.token_urlsafe(24)
            self.secret("minio", {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password})
            self.secret("storage", {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": password})
        manifests = (ROOT / "k8s" / "minio.yaml").read_text()
        image = os.environ.get("MINIO_IMAGE")
        if image:
            lines = [
                f"{line.split('image:')[0]}image: {image}" if "image: quay.io/minio" in line else line
                for line in manifests.splitlines()
            ]
            manifests = "\n".join(lines)
        self.kubectl("apply", "-f", "-", stdin=manifests)
        self.kubectl("rollout", "status", "deployment/minio", "--timeout=180s")

    def secret(self, name: str, data: dict[str, str]) -> None:
        """Create a Secret. Its content goes through standard input: others could read a command line."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    @contextlib.contextmanager
    def storage(self) -> Iterator[str]:
        """Forward a port to MinIO, with endpoint and credentials in this process's environment."""
        data = json.loads(self.kubectl("get", "secret", "storage", "-o", "json"))["data"]
        with port_forward(self.namespace, "service/minio", 9000) as port:
            before = dict(os.environ)
            for name, value in data.items():
                os.environ[name] = base64.b64decode(value).decode()
            endpoint = f"http://127.0.0.1:{port}"
            os.environ |= {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "us-east-1"}
            os.environ |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
            try:
                yield endpoint
            finally:
                os.environ.clear()
                os.environ.update(before)

    def upload(self) -> None:
        """Upload the episodes to the bucket."""
        from groot_ray.storage import open_location
        from groot_ray.storage.client import s3_client
        from groot_ray.storage.tree import upload_tree

        with self.storage() as endpoint:
            client = s3_client(endpoint, "us-east-1")
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=BUCKET)
            upload_tree(EPISODES, open_location(f"s3://{BUCKET}/recordings/{EPISODES.name}", endpoint))

    def install(self, words: list[str]) -> None:
        """`helm upgrade --install` of k8s/demo.yaml; the experiment has the release's name."""
        chart = str(ROOT / "charts" / "groot-experiment")
        run(
            tool("helm"),
            "upgrade",
            "--install",
            self.release,
            chart,
            "-n",
            self.namespace,
            "-f",
            str(ROOT / "k8s" / "demo.yaml"),
            "--set",
            f"experiment.name={self.release}",
            *words,
        )

    def wait(self, seconds: float = 3600) -> None:
        """Follow the Jobs to the end, printing `cluster status`; exits if a stage fails."""
        from groot_ray.cluster.kube.access import from_kubeconfig
        from groot_ray.cluster.kube.release import read_release
        from groot_ray.cluster.status.status import describe

        kube, end, shown = from_kubeconfig(None, self.namespace), time.monotonic() + seconds, ""
        while time.monotonic() < end:
            _, stages = read_release(kube, self.release)
            text = describe(kube, self.release)
            if text != shown:
                print(time.strftime("%H:%M:%S"), text, flush=True)
                shown = text
            states = [stage.state for stage in stages]
            if "failed" in states:
                sys.exit("demo: a stage failed; the advice above says why")
            if set(states) == {"done"}:
                return
            time.sleep(5)
        sys.exit(f"demo: not finished after {seconds:.0f} s; see groot-ray cluster status {self.release}")

    def show(self) -> None:
        """Print the results in the bucket."""
        from groot_ray.stages.catalog import describe_experiment
        from groot_ray.storage import open_location

        with self.storage() as endpoint:
            print(describe_experiment(open_location(f"s3://{BUCKET}/experiments/{self.release}", endpoint)))

    def uninstall(self) -> None:
        """Remove the release; storage stays."""
        run(tool("helm"), "uninstall", self.release, "-n", self.namespace, "--wait", "--timeout", "5m")


@contextlib.contextmanager
def port_forward(namespace: str, target: str, port: int) -> Iterator[int]:
    """`kubectl port-forward` on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        local = free.getsockname()[1]
    process = subprocess.Popen(
        [tool("kubectl"), "-n", namespace, "port-forward", target, f"{local}:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(150):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", local), timeout=1):
                break
            time.sleep(0.2)
        else:
            sys.exit(f"demo: kubectl port-forward does not reach {target}")
        yield local
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespace", default="groot-demo")
    parser.add_argument("--release", default="demo")
    parser.add_argument("--keep", action="store_true", help="leave the release installed")
    parser.add_argument("--remove", action="store_true", help="remove release and namespace, and do nothing else")
    parser.add_argument("-f", dest="values", action="append", default=[], help="more values for helm")
    parser.add_argument("--set", dest="sets", action="append", default=[], help="a value for helm")
    given = parser.parse_args()
    demo = Demo(given.namespace, given.release)
    if given.remove:
        subprocess.run([tool("helm"), "uninstall", demo.release, "-n", demo.namespace], capture_output=True)
        run(tool("kubectl"), "delete", "namespace", demo.namespace, "--ignore-not-found")
        return
    sys.path.insert(0, str(ROOT))
    began = time.monotonic()
    demo.prepare()
    demo.upload()
    demo.install(
        [word for path in given.values for word in ("-f", path)]
        + [word for item in given.sets for word in ("--set", item)]
    )
    demo.wait()
    run(tool("helm"), "test", demo.release, "-n", demo.namespace, "--timeout", "3m")
    demo.show()
    if not given.keep:
        demo.uninstall()
    print(
        f"done in {time.monotonic() - began:.0f} s; the results are in bucket {BUCKET} of MinIO "
        f"in namespace {demo.namespace}"
    )


if __name__ == "__main__":
    main()
