<?php
// Counts a browser's visits in a session, which all servers keep in one place.
session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
header('Content-Type: text/plain');
echo $_SESSION['visits'];
