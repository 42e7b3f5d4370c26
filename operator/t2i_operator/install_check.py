"""What `helm test` runs in the operator's image and under its service account: does the installation work?

Three questions, each with a way out: does the operator answer, is it ready, and does the API server let its service
account list jobs where it looks after them?
"""

import argparse
import asyncio
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

from t2i_operator.cluster import TRAINING_JOBS, Cluster, ClusterError

_ATTEMPTS = 5
_PAUSE_SECONDS = 3.0
_TIMEOUT_SECONDS = 5.0


class CheckError(Exception):
    """The installation does not work; the message says what to look at."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if everything is in order, 1 with the reason otherwise."""
    reader = argparse.ArgumentParser(prog="t2i_operator.install_check", description=__doc__)
    reader.add_argument("--operator", required=True, metavar="URL", help="where /healthz and /readyz answer")
    reader.add_argument("--namespace", action="append", metavar="NAME", help="looked after; may be repeated (all)")
    reader.add_argument("--kubeconfig", metavar="FILE", help="instead of the pod's service account")
    options = reader.parse_args(arguments)
    try:
        for line in asyncio.run(check(options.operator, options.namespace or [], options.kubeconfig)):
            sys.stdout.write(f"ok: {line}\n")
    except (CheckError, ClusterError) as error:
        sys.stderr.write(f"failed: {error}\n")
        return 1
    return 0


async def check(operator: str, namespaces: Sequence[str], kubeconfig: str | None) -> list[str]:
    """Return what is in order; raises CheckError or ClusterError for the first thing that is not."""
    done = [await _answers(f"{operator}{page}") for page in ("/healthz", "/readyz")]
    cluster = await Cluster.connect(kubeconfig=kubeconfig, context=None)
    try:
        looked_after: Sequence[str | None] = namespaces or (None,)
        for namespace in looked_after:
            jobs = await cluster.list(TRAINING_JOBS, namespace)
            done.append(f"{len(jobs)} job(s) in {namespace or 'all namespaces'}")
    finally:
        await cluster.close()
    return done


async def _answers(url: str) -> str:
    """Ask a few times: a Service knows a pod only a moment after it is ready."""
    told = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_PAUSE_SECONDS)
        try:
            return f"{url} says {await asyncio.to_thread(_get, url)}"
        except urllib.error.HTTPError as error:
            told = f"{error.code}: {error.read(1000).decode(errors='replace').strip()}"
        except (OSError, urllib.error.URLError) as error:
            told = str(error)
    raise CheckError(f"{url}: {told}. See kubectl logs of the operator's deployment")


def _get(url: str) -> str:
    # http only: the URL comes from the chart; no proxy may answer for a Service.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
        return str(answer.read(1000).decode(errors="replace").strip())


if __name__ == "__main__":
    raise SystemExit(main())
