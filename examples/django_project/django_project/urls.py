"""The project's URLs."""

from django.contrib import admin
from django.urls import path
from notes import views

urlpatterns = [
    path("", views.index),
    path("notes/<int:number>/file", views.file, name="file"),
    path("notes.csv", views.export, name="export"),
    path("admin/", admin.site.urls),
]
