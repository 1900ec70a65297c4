"""A note, with a file if there is one."""

from django.db import models


class Note(models.Model):
    title = models.CharField(max_length=100)
    file = models.FileField(upload_to="%Y/%m", blank=True)

    def __str__(self):
        return self.title
