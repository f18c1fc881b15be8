"""Environment variables of pods, and what they must never contain: secrets, and addresses with credentials."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from groot_ray.experiment.cluster.kubernetes import ObjectName
from groot_ray.experiment.rules import Never, any_case
from groot_ray.experiment.schema import Strict

INTO_A_SECRET = "put {} into a Secret and name that in cluster.environment.credentials"
_WORDS = ("SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE_KEY", "API_KEY", "ACCESS_KEY")
SECRET_NAME = re.compile(rf"{'|'.join(map(any_case, _WORDS))}|(^|_){any_case('TOKEN')}$")
CREDENTIALS = r"://[^/\s]*@"  # within an address

NO_SECRET = Never(SECRET_NAME.pattern, f"left out: it looks like a secret; {INTO_A_SECRET.format('it')}")
NO_CREDENTIALS = Never(CREDENTIALS, f"an address without credentials; {INTO_A_SECRET.format('them')}")

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), NO_SECRET]
Environment = dict[EnvironmentName, Annotated[str, NO_CREDENTIALS]]
HttpAddress = Annotated[str, Field(pattern=r"^https?://\S+$"), NO_CREDENTIALS]
RayStartName = Annotated[str, Field(pattern=r"^[a-z][-a-z0-9]*$"), NO_SECRET]
RayStartParameters = dict[RayStartName, Annotated[str, NO_CREDENTIALS]]


class EnvironmentOptions(Strict):
    """Environment of all pods. Secrets are only named, never written down."""

    credentials: list[ObjectName] = Field(
        [],
        description="Secrets whose keys become environment variables "
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, HF_TOKEN, WANDB_API_KEY)",
    )
    config_maps: list[ObjectName] = Field([], description="ConfigMaps whose keys become environment variables")
    variables: Environment = Field({}, description="plain variables such as AWS_REGION or AWS_ENDPOINT_URL_S3")
    proxy: HttpAddress | None = Field(None, description="HTTP(S) proxy for storage and hub")
    no_proxy: list[str] = Field([], description="hosts that are reached without the proxy; the cluster's own are added")
    ca_bundle: ObjectName | None = Field(
        None, description="ConfigMap with a CA bundle in PEM form under the key ca.crt"
    )
