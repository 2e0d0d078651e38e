"""Stand-ins for models of others: folders with their entry points and forms of output, and no weights."""

from __future__ import annotations

from pathlib import Path

_NETWORK = '''
import torch


class Net(torch.nn.Module):
    """Means of the four quarters of an image, times a fixed matrix."""

    def __init__(self, dim, form="rows", multiple=1):
        super().__init__()
        self.dim, self.form, self.multiple = dim, form, multiple
        generator = torch.Generator().manual_seed(dim)
        self.fc = torch.nn.Linear(12, dim, bias=False)
        self.fc.weight.data = torch.randn(dim, 12, generator=generator)

    def forward(self, x):
        assert x.shape[2] % self.multiple == 0 and x.shape[3] % self.multiple == 0, "sides of patches"
        rows = self.fc(torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))
        if self.form == "tuple":
            return rows, [x.mean()]
        if self.form == "map":
            return rows[:, :, None, None]
        if self.form == "batch":
            return rows + rows.mean(0)
        return rows.relu() if self.form == "sized" and x.shape[2] < 100 else rows
'''
_LOADED = "    return torch.hub.load_state_dict_from_url('https://weights.invalid/x.pth', progress=False)\n"
_HUBCONF = {
    "gmberton_MegaLoc": "def get_trained_model():\n    return Net(8, multiple=14)\n",
    "gmberton_eigenplaces": "def get_trained_model(backbone='ResNet50', fc_output_dim=2048):\n"
    "    print(f'Returning {backbone}')\n    return Net(int(fc_output_dim) // 128)\n",
    "gmberton_cosplace": "def get_trained_model(backbone='ResNet18', fc_output_dim=32):\n"
    "    return Net(int(fc_output_dim) // 128)\n",
    "serizba_salad": "def dinov2_salad(backbone='dinov2_vitb14', pretrained=True):\n    return Net(8, multiple=14)\n",
    "amaralibey_bag-of-queries": "def get_trained_boq(backbone_name='resnet50', output_dim=16384):\n"
    "    return Net(output_dim // 1024, form='tuple', multiple=14 if backbone_name == 'dinov2' else 1)\n",
    "Lu-Feng_CricaVPR": "def trained_model():\n    return torch.nn.DataParallel(Net(8, form='batch', multiple=14))\n",
    "own": "def rows(dim=8):\n    return Net(dim)\n\n\ndef feature_map():\n    return Net(8, form='map')\n\n\n"
    "def in_training():\n    net = torch.nn.Sequential(Net(64), torch.nn.Dropout())\n    return lambda x: net(x)\n\n\n"
    "def neighbours(dim=8):\n    net = Net(dim, form='batch')\n    return lambda x: net(x)\n\n\n"
    "def weights():\n" + _LOADED + "\n\ndef no_model():\n    return 3\n",
}


def write_stand_in(folder: Path, name: str = "own") -> Path:
    """Write the folder of one repository, by OWNER_REPO; its module is called "network" in all of them."""
    folder.mkdir(parents=True)
    (folder / "network.py").write_text(_NETWORK)
    (folder / "hubconf.py").write_text(
        "dependencies = ['torch']\n\nimport torch\nfrom network import Net\n\n\n" + _HUBCONF[name]
    )
    return folder


def write_cache(torch_home: Path) -> None:
    """Write all of them where torch.hub keeps what it fetched."""
    for name in _HUBCONF:
        if name != "own":
            write_stand_in(torch_home / "hub" / f"{name}_main", name)
