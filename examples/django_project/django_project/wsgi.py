"""The application that gwsgi serves: django_project.wsgi:application.

In production, nginx serves the static files; here the application does, so that the admin has its styles.
"""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_project.settings")

application = StaticFilesHandler(get_wsgi_application())
