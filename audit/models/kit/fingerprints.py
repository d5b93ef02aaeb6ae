"""Make fingerprints of loaded models: digests of their parts, and versions of packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from audit.base.files import digest, digest_stream
from audit.models.kit.stack import installed
from audit.models.protocol import Fingerprint


def content(name: str, tensor: Tensor) -> Iterator[bytes | str | memoryview]:
    """Name, type, shape and bytes of a tensor, for a digest."""
    plain = tensor.detach().cpu().contiguous()
    yield from (name, str(plain.dtype), str(tuple(plain.shape)))
    yield plain.reshape(-1).view(torch.uint8).numpy().data


def finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.element_size() == 1:  # torch does not compare numbers of 8 bits
        tensor = tensor.float()
    # The extremes are NaN if any value is, and finding them takes a fiftieth of isfinite's time.
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over every parameter and buffer; the same weights in another file give the same.

    Take it before the weights are converted to another precision, so that all precisions share it.
    """
    state = sorted(network.state_dict().items())
    return digest_stream(part for name, tensor in state for part in content(name, tensor))


def fingerprint(
    *,
    name: str,
    source: str,
    weights: str,
    configuration: str,
    tokenizer: str,
    preprocessing: str,
    device: str,
    dtype: str,
    packages: Iterable[str],
    revision: str = "",
    engine: str = "",
    asking: str = "",
) -> Fingerprint:
    """A fingerprint, with the digest over its four parts and the versions of ``packages``.

    Args:
        packages: names of the installed packages that decide what is computed.
        asking: digest of the asking file, if there is one; ``configuration`` must depend on it.
    """
    return Fingerprint(
        name=name,
        source=source,
        revision=revision,
        digest=digest(weights, configuration, tokenizer, preprocessing),
        weights=weights,
        configuration=configuration,
        tokenizer=tokenizer,
        preprocessing=preprocessing,
        device=device,
        dtype=dtype,
        packages={package: installed(package) for package in packages},
        engine=engine,
        asking=asking,
    )
