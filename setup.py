"""Adds to setup.cfg the one thing it cannot say: a start-up hook that lands beside the installed packages.

``ryu-manager`` loads Ryu before any code of this project, so what Ryu needs on a current eventlet
(``ryu_apps/eventlet_names.py``) has to come with the install, as a ``.pth`` file in site-packages. Only the
running interpreter knows where that is.
"""

import sysconfig

from setuptools import Distribution, setup

SITE_PACKAGES = sysconfig.get_path("purelib", scheme="posix_prefix", vars={"base": "."})


class DistributionWithData(Distribution):
    def has_data(self) -> bool:
        """What ``pip install -e`` asks before it installs data files; setuptools itself only has the other name."""
        return self.has_data_files()


setup(distclass=DistributionWithData, data_files=[(SITE_PACKAGES, ["ryu_apps/ryu_on_current_eventlet.pth"])])
