"""An upload form, a file response, a streamed export."""

from django import forms
from django.http import FileResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from notes.models import Note


class NoteForm(forms.ModelForm):
    class Meta:
        model = Note
        fields = ("title", "file")


def index(request):
    """Show the notes and the form; keep what is posted. Django writes a large upload to disk as it arrives."""
    form = NoteForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("/")
    return render(request, "notes/index.html", {"form": form, "notes": Note.objects.all()})


def file(request, number):
    """Send a note's file; the server does it by sendfile, since FileResponse uses wsgi.file_wrapper."""
    note = get_object_or_404(Note.objects.exclude(file=""), pk=number)
    return FileResponse(note.file.open("rb"), as_attachment=True)


def export(request):
    """Send all notes as CSV, a line at a time, however many there are."""
    lines = (f'{note.pk},"{note.title.replace(chr(34), chr(34) * 2)}"\r\n' for note in Note.objects.iterator())
    return StreamingHttpResponse(lines, content_type="text/csv")
